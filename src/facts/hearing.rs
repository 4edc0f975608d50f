//! The part of the store that hears of tokens which were taken back: it asks, verifies with the keys at
//! hand, publishes, and tells open streams.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::liveness::{FactError, Liveness, MAX_LISTS};
use super::store::{Settling, Store};
use crate::decide::facts::{Fed, Heard, Known, Listed};
use crate::model::need::Need;
use crate::model::presented::Presented;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::token::extract::Credentials;
use crate::token::introspection::Introspected;
use crate::token::keys::KeySet;

/// How often it is looked whether a status list must be fetched anew.
const TICK: Duration = Duration::from_secs(1);

impl Store {
    /// What an issuer said of the presented token: the issuer that was asked last for this call, since
    /// another one may say something else of the same text.
    pub(super) fn introspected(
        &self,
        presented: &Credentials<'_>,
        exhausted: &[Need],
    ) -> Option<Arc<Introspected>> {
        let asked = exhausted.iter().rev().find_map(|need| match need {
            Need::Introspection(issuer) => Some(*issuer),
            _ => None,
        });
        self.liveness(asked?)?.introspector()?.known(&presented.digest)
    }

    pub(super) async fn introspect(&self, issuer: usize, with: &Settling<'_>) {
        let Some(liveness) = self.liveness(issuer) else { return };
        let (Some(introspector), Some(presented)) = (liveness.introspector(), with.credentials)
        else {
            return;
        };
        let (token, digest, now) = (presented.token, presented.digest, with.now);
        let enough = |answer: &Introspected| answer.holds(now);
        let ask = |keys| introspector.ask(token, digest, keys, enough);
        let asked = self.verified(issuer, ask).await;
        if let Err(error) = asked {
            liveness.complain("a token could not be introspected", &error);
        }
    }

    /// What the issuer called `id` last said of the token with this digest.
    pub fn answer(&self, id: &str, digest: &[u8; 32]) -> Option<Arc<Introspected>> {
        self.liveness(self.issuer_called(id)?)?.introspector()?.known(digest)
    }

    /// Asks the issuer called `id` about a token by which a response is open, unless it was asked after
    /// `since` already, for another one. `None` where it cannot be asked.
    pub async fn ask_again(
        &self,
        id: &str,
        token: Presented<'_>,
        digest: [u8; 32],
        since: Timestamp,
    ) -> Option<Arc<Introspected>> {
        let issuer = self.issuer_called(id)?;
        let liveness = self.liveness(issuer)?;
        let introspector = liveness.introspector()?;
        let enough = |answer: &Introspected| answer.asked > since;
        let ask = |keys| introspector.ask(token, digest, keys, enough);
        match self.verified(issuer, ask).await {
            Ok(()) => introspector.known(&digest).filter(|answer| enough(answer)),
            Err(error) => {
                liveness.complain("an open response cannot be asked about", &error);
                None
            }
        }
    }

    fn issuer_called(&self, id: &str) -> Option<usize> {
        self.liveness.iter().position(|liveness| *liveness.config().trust.id == *id)
    }

    /// Obtains the feed that a call at `now` lacks, unless another call just did.
    pub(super) async fn meet_feed(&self, issuer: usize, now: Timestamp) {
        let Some(liveness) = self.liveness(issuer) else { return };
        let Some(max_age) = liveness.config().trust.liveness.feed_max_age else { return };
        let keys = self.keys_at(issuer);
        self.hear_feed(issuer, |fed| fed.is_good(now, max_age, keys.as_ref())).await;
    }

    /// Polls the feed of an issuer that has one, unless what is known is `enough`.
    pub(super) async fn hear_feed(&self, issuer: usize, enough: impl Fn(&Fed) -> bool) {
        let Some(liveness) = self.liveness(issuer) else { return };
        if liveness.config().liveness.feed.is_none() {
            return;
        }
        let known = || self.heard(issuer).feed.filter(&enough);
        let before = self.heard(issuer).feed;
        if let Ok(fed) = self.verified(issuer, |keys| liveness.poll(keys, known)).await {
            let is_new = before.is_none_or(|before| !Arc::ptr_eq(&before.feed, &fed.feed));
            self.tell(issuer, is_new, |heard| heard.feed = Some(fed.clone()));
        }
    }

    /// Obtains the status list that a call at `now` lacks, unless another call just did.
    pub(super) async fn meet_list(&self, issuer: usize, uri: &str, now: Timestamp) {
        let keys = self.keys_at(issuer);
        self.hear_list(issuer, uri, |listed| listed.is_good(now, keys.as_ref())).await;
    }

    /// Fetches a status list, unless what is known is `enough`.
    async fn hear_list(&self, issuer: usize, uri: &str, enough: impl Fn(&Listed) -> bool) {
        let Some(liveness) = self.liveness(issuer) else { return };
        let known = || self.heard(issuer).lists.get(uri).cloned().filter(&enough);
        if let Ok(listed) = self.verified(issuer, |keys| liveness.list(uri, keys, known)).await {
            self.tell(issuer, true, |heard| {
                let mut lists = HashMap::clone(&heard.lists);
                lists.insert(uri.into(), listed.clone());
                forget_oldest(&mut lists);
                heard.lists = Arc::new(lists);
            });
        }
    }

    /// Polls the feed of an issuer, and fetches its lists ahead of their end.
    pub(super) async fn keep_hearing(self: Arc<Self>, issuer: usize) {
        let Some(liveness) = self.liveness(issuer) else { return };
        let interval = liveness.config().liveness.feed.as_ref().map(|feed| feed.interval);
        loop {
            tokio::time::sleep(interval.map_or(TICK, |interval| interval.min(TICK))).await;
            let now = clock::now();
            let heard = self.heard(issuer);
            let polled = heard.feed.as_ref().map(|fed| fed.confirmed);
            if interval.is_some_and(|interval| polled.is_none_or(|at| at.after(interval) <= now)) {
                self.hear_feed(issuer, |fed| fed.confirmed >= now).await;
            }
            for (uri, listed) in heard.lists.iter().filter(|(_, listed)| is_due(listed, now)) {
                tracing::debug!(%uri, age = ?now.since(listed.fetched), "a status list is fetched anew");
                self.hear_list(issuer, uri, |listed| listed.fetched >= now).await;
            }
        }
    }

    /// For each issuer with a feed, when that was last confirmed.
    pub fn feed_ages(&self) -> Vec<(Box<str>, Option<Timestamp>)> {
        let known = self.known.load();
        let issuers = self.liveness.iter().zip(&known.heard);
        let fed = issuers.filter(|(liveness, _)| liveness.config().liveness.feed.is_some());
        let confirmed = |heard: &Heard| heard.feed.as_ref().map(|fed: &Fed| fed.confirmed);
        fed.map(|(liveness, heard)| (liveness.config().trust.id.clone(), confirmed(heard)))
            .collect()
    }

    /// For each issuer with a status list, when the oldest of them was fetched.
    pub fn list_ages(&self) -> Vec<(Box<str>, Timestamp)> {
        let known = self.known.load();
        let issuers = self.liveness.iter().zip(&known.heard);
        let oldest = issuers.filter_map(|(liveness, heard)| {
            let fetched = heard.lists.values().map(|listed| listed.fetched).min()?;
            Some((liveness.config().trust.id.clone(), fetched))
        });
        oldest.collect()
    }

    /// How often issuers answered that a token is active, and that it is not.
    pub fn introspections(&self) -> [u64; 2] {
        let asked = self.liveness.iter().filter_map(Liveness::introspector);
        asked.fold([0; 2], |[active, inactive], introspector| {
            let (yes, no) = introspector.counts();
            [active.saturating_add(yes), inactive.saturating_add(no)]
        })
    }

    /// For each issuer, how often it did not give what it was asked for.
    pub fn liveness_failures(&self) -> Vec<(Box<str>, u64)> {
        let failures = |one: &Liveness| (one.config().trust.id.clone(), one.failures());
        self.liveness.iter().map(failures).collect()
    }

    fn liveness(&self, issuer: usize) -> Option<&Liveness> {
        self.liveness.get(issuer)
    }

    fn heard(&self, issuer: usize) -> Heard {
        self.known.load().heard.get(issuer).cloned().unwrap_or_default()
    }

    /// Asks with the keys at hand, and once more with newer ones where what came is signed by a key that
    /// is not among them.
    async fn verified<T, F>(
        &self,
        issuer: usize,
        ask: impl Fn(Option<Arc<KeySet>>) -> F,
    ) -> Result<T, FactError>
    where
        F: Future<Output = Result<T, FactError>>,
    {
        match ask(self.keys_at(issuer)).await {
            Err(FactError::KeyUnknown) => {
                let keys = self.keys_at(issuer);
                let need =
                    if keys.is_none() { Need::Keys(issuer) } else { Need::NewerKeys(issuer) };
                self.meet_keys(issuer, &need).await;
                ask(self.keys_at(issuer)).await
            }
            answer => answer,
        }
    }

    /// Publishes what was heard; open streams look again where it is new.
    fn tell(&self, issuer: usize, is_new: bool, change: impl Fn(&mut Heard)) {
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            if let Some(heard) = known.heard.get_mut(issuer) {
                change(heard);
            }
            known
        });
        if is_new {
            self.revocations().signal().raise();
        }
    }
}

fn forget_oldest(lists: &mut HashMap<Box<str>, Listed>) {
    if lists.len() <= MAX_LISTS {
        return;
    }
    let oldest = lists.iter().min_by_key(|(_, listed)| listed.fetched);
    if let Some(oldest) = oldest.map(|(uri, _)| uri.clone()) {
        lists.remove(&oldest);
    }
}

/// A list is fetched anew after four fifths of its time, so that one failure is no outage.
fn is_due(listed: &Listed, now: Timestamp) -> bool {
    let time = listed.until.since(listed.fetched);
    now >= listed.fetched.after(time.mul_f32(0.8))
}
