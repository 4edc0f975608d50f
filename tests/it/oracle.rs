//! A second verification, written slowly from the specifications, against the program's own decision.
//!
//! Tokens and requests are made good, then changed in up to three ways of a catalog. Whether a call
//! is let through, and if not with which status and error, must be the same for both; also for a
//! token that is remembered, at a later time, under other keys.

mod agent;
mod book;
mod change;
mod draft;
mod json;
mod members;
mod request;
mod setting;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use opgate::decide::admit::admit;
use opgate::decide::call;
use opgate::decide::facts::{Facts, Keys, Known, Stop};
use opgate::model::reason::{Denial, Reason};
use opgate::model::time::Timestamp;
use opgate::operation::head::Transport;
use opgate::proxy::reject;
use opgate::state::Snapshot;
use opgate::token::extract::extract;
use opgate::token::grant::Grant;
use opgate::token::keys::KeySet;
use opgate::token::revocation::Set;
use opgate::{config, decide};
use proptest::prelude::*;

use self::book::{Asked, Told};
use self::change::{Change, catalog};
use self::draft::{Draft, NOW, good};
use self::setting::ISSUERS;

static CATALOG: LazyLock<Vec<(&str, Change)>> = LazyLock::new(|| catalog().collect());

static KEYS: LazyLock<Vec<Vec<setting::Key>>> = LazyLock::new(|| setting::keys(None));

static KNOWN: LazyLock<Known> = LazyLock::new(|| known(&KEYS));

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let config = config::parse(setting::CONFIGURATION, Path::new("opgate.toml")).unwrap();
    Snapshot::build(Arc::new(config)).unwrap()
});

/// The program's side: what it knows of keys, and the grant it remembers.
struct Program {
    known: Known,
    remembered: Option<Arc<Grant>>,
}

impl Program {
    fn new() -> Self {
        Self { known: KNOWN.clone(), remembered: None }
    }

    fn told(&mut self, asked: &Asked, now: u64) -> (Told, Option<Reason>) {
        match self.decide(asked, Timestamp::from_micros(now)) {
            Ok(()) => (book::OK, None),
            Err(Denial { reason, .. }) => {
                let shape = reject::of(reason);
                ((shape.status.as_u16(), shape.error), Some(reason))
            }
        }
    }

    /// The steps of `proxy::gate`, in its order.
    fn decide(&mut self, asked: &Asked, now: Timestamp) -> Result<(), Denial> {
        let target = match &asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.clone(),
        };
        let mut request = http::Request::builder().method(&*asked.method).uri(target);
        request = request.header("host", "tools.test");
        for line in &asked.authorization {
            request = request.header("authorization", line);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let call = call::receive(&parts, Transport::default(), &SNAPSHOT.world)?;
        call.entry()?;
        let token_header = &call.resource().token_header;
        let credentials = extract(&parts.headers, call.query(), token_header, None)?;
        let remembered =
            self.remembered.take().filter(|grant| *grant.digest() == credentials.digest);
        let grant = self.settle(now, remembered.as_ref(), |facts| {
            decide::authenticate(&call, &credentials, facts)
        })?;
        let admitted = |facts: &Facts<'_>| admit(&call, &credentials, &grant, facts);
        let presenter = self.settle(now, Some(&grant), admitted)?;
        self.remembered = Some(Arc::clone(&grant));
        decide::authorize(&call, &grant, &presenter, None, now).map(drop)
    }

    /// A world in which no fact can be had beyond those that are known.
    fn settle<T>(
        &self,
        now: Timestamp,
        remembered: Option<&Arc<Grant>>,
        step: impl Fn(&Facts<'_>) -> Result<T, Stop>,
    ) -> Result<T, Denial> {
        let (mut exhausted, revoked) = (Vec::new(), Set::default());
        loop {
            let known = &self.known;
            let facts = Facts {
                world: &SNAPSHOT.world,
                known,
                revoked: &revoked,
                now,
                introspected: None,
                remembered,
                binding: None,
                exhausted: &exhausted,
            };
            match step(&facts) {
                Ok(done) => return Ok(done),
                Err(Stop::Refuse(denial)) => return Err(denial),
                Err(Stop::Need(need)) => exhausted.push(need),
            }
            assert!(exhausted.len() < 8, "needs without end: {exhausted:?}");
        }
    }
}

/// What is known of the issuers once their keys are obtained.
fn known(keys: &[Vec<setting::Key>]) -> Known {
    let obtained = setting::sets(keys).into_iter().zip(ISSUERS).map(|(set, issuer)| {
        let (keys, left_out) = KeySet::from_jwks(set.as_bytes()).unwrap();
        assert_eq!(left_out, [], "{}", issuer.id);
        if issuer.away { Keys::Missing } else { Keys::Obtained(Arc::new(keys)) }
    });
    Known { keys: obtained.collect(), ..Known::default() }
}

/// A draft that is let through unless it is changed.
const GOOD: draft::Choice = (0, 0, 0);

const SECOND: u64 = 1_000_000;

fn now() -> u64 {
    u64::try_from(NOW).unwrap() * SECOND
}

/// What both say of a draft at the time of the call. Panics where they differ.
fn agreed(draft: &Draft, what: &str) -> Told {
    let asked = draft.finish();
    let (told, reason) = Program::new().told(&asked, now());
    let expected = book::told(&asked, &KEYS, now());
    assert_eq!(
        told, expected,
        "{what}: {reason:?}, header {}, payload {}, {} {} {:?}",
        draft.header, draft.payload, draft.method, draft.path, draft.lines
    );
    told
}

#[test]
fn unchanged_drafts_are_let_through_or_refused_for_what_they_ask() {
    let mut seen = BTreeSet::new();
    for place in 0..5 {
        for target in 0..9 {
            for key in 0..6 {
                seen.insert(agreed(&good((place, target, key)), "unchanged"));
            }
        }
    }
    let expected =
        [(200, ""), (403, "insufficient_authorization"), (503, "temporarily_unavailable")];
    assert_eq!(Vec::from_iter(seen), expected);
}

#[test]
fn every_change_alone_in_every_form_is_judged_as_the_book_says() {
    let mut seen = BTreeSet::new();
    for (name, change) in &*CATALOG {
        let mut harmful = 0;
        for form in 0..66 {
            for choice in [GOOD, (form % 5, form, form / 3)] {
                let mut draft = good(choice);
                change(&mut draft, form);
                let after = agreed(&draft, &format!("{name}, form {form}"));
                harmful += usize::from(choice == GOOD && after != book::OK);
                seen.insert(after);
            }
        }
        assert!(harmful > 0, "{name} never has a consequence");
    }
    // The catalog is rich enough to meet every answer that the book knows.
    let statuses: BTreeSet<_> = seen.iter().map(|(status, _)| *status).collect();
    assert_eq!(Vec::from_iter(statuses), [200, 400, 401, 403, 404, 405, 500, 503]);
}

type Changes = Vec<(usize, usize)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((0..CATALOG.len(), 0..66_usize), 0..=3)
}

fn changed(choice: draft::Choice, changes: &Changes) -> Draft {
    let mut draft = good(choice);
    for (change, form) in changes {
        CATALOG[*change].1(&mut draft, *form);
    }
    draft
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changes_together_are_judged_as_the_book_says(
        choice in (0..5_usize, 0..9_usize, 0..6_usize),
        changes in changes(),
    ) {
        let names: Vec<_> = changes.iter().map(|(change, form)| (CATALOG[*change].0, form)).collect();
        agreed(&changed(choice, &changes), &format!("{choice:?} {names:?}"));
    }

    /// R-VER-026: whatever was answered first, what is answered later is what the book says of that
    /// time and those keys, with the grant remembered.
    #[test]
    fn ver_026_remembering_never_changes_an_answer(
        choice in (0..5_usize, 0..9_usize, 0..6_usize),
        changes in prop::collection::vec((0..CATALOG.len(), 0..66_usize), 0..=1),
        elapsed in prop_oneof![Just(0), 1..700_u64, Just(86_500)],
        key_is_gone in any::<bool>(),
    ) {
        let draft = changed(choice, &changes);
        let asked = draft.finish();
        let mut program = Program::new();
        program.told(&asked, now());
        let kid = draft.header["kid"].as_str().unwrap_or_default();
        let keys = setting::keys(key_is_gone.then_some((draft.issuer, kid)));
        program.known = known(&keys);
        let later = now() + elapsed * SECOND;
        let (told, reason) = program.told(&asked, later);
        prop_assert_eq!(told, book::told(&asked, &keys, later), "{:?} {:?}", reason, draft);
    }
}
