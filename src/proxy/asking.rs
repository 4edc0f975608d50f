//! Responses that an issuer's word permitted (RFC 7662): while one is open, its issuer is asked again, so
//! that a token that was taken back is felt by a stream as soon as it is by a call.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::serving::Serving;
use crate::config::secret::Secret;
use crate::model::presented::Presented;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::runtime::signal::Signal;
use crate::token::grant::Grant;
use crate::token::introspection::Introspected;

/// The least time between two questions for one stream, where answers are not kept at all.
const LEAST: Duration = Duration::from_secs(1);

/// Asks for as long as it lives.
#[derive(Debug)]
pub struct Asking {
    /// Why the response must end, once it must.
    verdict: Arc<OnceLock<Reason>>,
    /// The one task, which ends with this.
    _task: JoinSet<()>,
}

impl Asking {
    /// Asks the issuer of `grant` about its `token`. When the answer ends a response, `signal` is raised.
    pub fn start(
        grant: Arc<Grant>,
        token: &str,
        serving: Arc<ArcSwap<Serving>>,
        signal: Signal,
    ) -> Self {
        let verdict = Arc::<OnceLock<Reason>>::default();
        let told = Arc::clone(&verdict);
        let token = Secret::new(Box::from(token));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let reason = ask(&grant, &token, &serving).await;
            // Only this task ever tells, and once.
            told.get_or_init(|| reason);
            signal.raise();
        });
        Self { verdict, _task: task }
    }

    /// Why the response must end, if it must.
    pub fn verdict(&self) -> Option<Reason> {
        self.verdict.get().copied()
    }
}

/// Asks again ahead of the end of each answer. Ends when the token is not active any more, or when that
/// cannot be told.
async fn ask(grant: &Grant, token: &Secret<Box<str>>, serving: &ArcSwap<Serving>) -> Reason {
    let (issuer, claims) = (&grant.issuer().id, grant.claims());
    let known = serving.load().facts.answer(issuer, grant.digest());
    // Where the answer is forgotten already, nothing is known, and the issuer is asked at once.
    let (mut asked, mut until) =
        known.map_or_else(Default::default, |answer| (answer.asked, end(&answer)));
    loop {
        // After four fifths of the time, so that one failure is no end.
        tokio::time::sleep(until.since(clock::now()).mul_f32(0.8)).await;
        let facts = Arc::clone(&serving.load().facts);
        let presented = Presented::new(token.expose());
        match facts.ask_again(issuer, presented, *grant.digest(), asked).await {
            Some(found) if !found.answer.agrees(issuer, &claims.subject, &claims.jwt_id) => {
                return Reason::TokenInactive;
            }
            Some(found) => (asked, until) = (found.asked, end(&found)),
            None if clock::now() >= until => return Reason::IntrospectionUnavailable,
            None => tokio::time::sleep(LEAST.min(until.since(clock::now()))).await,
        }
    }
}

/// Until when an open response may rest on an answer.
fn end(answer: &Introspected) -> Timestamp {
    answer.until.max(answer.asked.after(LEAST))
}
