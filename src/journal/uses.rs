//! Which proofs of possession earlier processes have used, whom they saw evidence with, and what they have
//! charged under caps, read back from the end of the log: a proof does not count anew, and a budget is not
//! new, because the process is.
//!
//! The record of a call is on the disk before the call is forwarded (`sync`), so what this finds is all
//! that was used. In `batched`, or where a log was set aside as damaged, the last records may be lost; then
//! it says since when nothing is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use memchr::memmem;
use serde::Deserialize;

use super::recovery::{self, Recovered};
use super::segment::{self, Lines, Place};
use crate::model::need::{Bond, Charged, FirstUse, ProofKind};
use crate::model::time::Timestamp;

/// What was used within the time asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// The uses that have not ended.
    pub seen: Vec<FirstUse>,
    /// What was charged and not given back, and has not ended.
    pub charged: Vec<Charged>,
    /// With whom and what evidence was used, the oldest use first.
    pub bonds: Vec<(Timestamp, Bond)>,
    /// Since when none of these is missing, where that is not the whole time. The first of each is on the
    /// disk before its call is forwarded, so that only a log that was set aside lacks any.
    pub bonds_since: Option<Timestamp>,
    /// Since when none is missing, where that is not the whole time.
    pub complete_since: Option<Timestamp>,
}

/// Reads the log in `directory`, as it was `recovered` at `now`, as far back as `lifetime`: no proof lives
/// longer after its use; and as far as `memory` for evidence.
pub fn read(
    directory: &Path,
    recovered: &Recovered,
    lifetime: Duration,
    memory: Duration,
    now: Timestamp,
) -> io::Result<Uses> {
    // A clock that went back makes nothing older than it was.
    let present = now.max(recovered.last);
    let since = present.before(lifetime);
    // In `batched` the last uses of what was used before may be lost. They came after the last record, and
    // made the memory of it last from then on.
    let may_lack = recovered.previous_clean == Some(false);
    let remembered = if may_lack { recovered.last.min(now) } else { present }.before(memory);
    let mut reading = Reading { present, remembered, ..Reading::default() };
    for place in segment::list(directory)?.iter().rev() {
        reading.segment(place)?;
        if reading.first.is_some_and(|first| first < since.min(remembered)) {
            break;
        }
    }
    // An unclean end loses nothing in `sync`. What mode it was in, its own records say.
    let may_lose = reading.batched || !reading.sync;
    if recovered.previous_clean == Some(false) && may_lose {
        reading.gap = reading.gap.max(Some(now));
    }
    let complete_since = reading.gap.filter(|gap| *gap >= since);
    let bonds_since = reading.damaged.filter(|gap| *gap >= remembered);
    let bonds = reading.bonds((may_lack && may_lose).then_some(present));
    Ok(Uses {
        bonds,
        bonds_since,
        seen: reading.seen,
        charged: reading.charged.into_inner(),
        complete_since,
    })
}

#[derive(Default)]
struct Reading {
    present: Timestamp,
    /// Since when evidence is remembered.
    remembered: Timestamp,
    seen: Vec<FirstUse>,
    charged: Charges,
    /// When each bond was used first and last.
    bonds: HashMap<Bond, (Timestamp, Timestamp)>,
    /// The last time that records may have been lost.
    gap: Option<Timestamp>,
    /// The last time that the log was set aside as damaged.
    damaged: Option<Timestamp>,
    /// Whether some record says that it was kept in memory first, or on the disk.
    batched: bool,
    sync: bool,
    /// The time of the first line of the segment that was read last.
    first: Option<Timestamp>,
}

/// The members of a line that say what was used or lost.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow, default)]
    why: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Cow<'a, str>,
    #[serde(borrow, default)]
    proof: Proof<'a>,
    #[serde(borrow, default)]
    bond: Option<Bonded<'a>>,
    #[serde(default)]
    seq: u64,
    /// The decision that an outcome is of.
    #[serde(default)]
    of: u64,
    #[serde(default)]
    refunded: bool,
    #[serde(borrow, default)]
    charged: Vec<Charge<'a>>,
}

#[derive(Deserialize)]
struct Charge<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    amount: Cow<'a, str>,
    #[serde(borrow)]
    until: Cow<'a, str>,
}

/// Charges by the `seq` of their decisions. Segments are read from the last back, so an outcome may be read
/// before its decision.
#[derive(Default)]
struct Charges {
    made: BTreeMap<u64, Vec<Charged>>,
    given_back: HashSet<u64>,
}

impl Charges {
    fn into_inner(mut self) -> Vec<Charged> {
        self.made.retain(|seq, _| !self.given_back.contains(seq));
        self.made.into_values().flatten().collect()
    }
}

#[derive(Deserialize)]
struct Bonded<'a> {
    #[serde(borrow)]
    evidence: Cow<'a, str>,
    #[serde(borrow)]
    person: Cow<'a, str>,
    #[serde(borrow)]
    grant: Option<Cow<'a, str>>,
}

impl Bonded<'_> {
    fn read(&self) -> Option<Bond> {
        let (evidence, person) = (bytes_of(&self.evidence)?, bytes_of(&self.person)?);
        let grant = match &self.grant {
            Some(grant) => Some(bytes_of(grant)?),
            None => None,
        };
        Some(Bond { evidence, person, grant })
    }
}

#[derive(Default, Deserialize)]
struct Proof<'a> {
    #[serde(borrow)]
    dpop: Option<Used<'a>>,
    #[serde(borrow)]
    wpt: Option<Used<'a>>,
}

#[derive(Deserialize)]
struct Used<'a> {
    #[serde(borrow, default, rename = "use")]
    id: Cow<'a, str>,
    #[serde(default)]
    until: u64,
}

impl Reading {
    fn segment(&mut self, place: &Place) -> io::Result<()> {
        // Quotes inside of text are escaped, so these can only be members.
        let is_use = memmem::Finder::new(br#""use":""#);
        let others = [
            br#""type":"gap""#.as_slice(),
            br#""bond":{""#,
            br#""charged":["#,
            br#""refunded":true"#,
        ];
        let others = others.map(memmem::Finder::new);
        let [batched, sync] = [br#""durability":"batched""#.as_slice(), br#""durability":"sync""#]
            .map(memmem::Finder::new);
        let mut lines = Lines::open(&place.path)?;
        let mut is_first = true;
        while let Some(line) = lines.advance()? {
            self.batched |= batched.find(line.bytes).is_some();
            self.sync |= sync.find(line.bytes).is_some();
            let is_told = is_use.find(line.bytes).is_some()
                || others.iter().any(|one| one.find(line.bytes).is_some());
            if is_first || is_told {
                self.line(line.bytes, is_first);
            }
            is_first = false;
        }
        Ok(())
    }

    /// First and last uses in the order of their times; the last of each may have been at `latest`.
    fn bonds(&self, latest: Option<Timestamp>) -> Vec<(Timestamp, Bond)> {
        let each = self.bonds.iter();
        let of_each = |(bond, (first, last)): (&Bond, &(Timestamp, Timestamp))| {
            [(*first, *bond), (latest.unwrap_or(*last), *bond)]
        };
        let mut uses: Vec<_> = each.flat_map(of_each).collect();
        uses.sort_by_key(|(at, _)| *at);
        uses
    }

    /// Recovery has read these lines before, and refuses to start where they are no records.
    fn line(&mut self, bytes: &[u8], is_first: bool) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(bytes) else { return };
        let at = recovery::timestamp(&line.ts);
        if is_first {
            self.first = at;
        }
        if matches!(&*line.why, "damaged" | "unclean_end") {
            self.gap = self.gap.max(at);
        }
        if line.why == "damaged" {
            self.damaged = self.damaged.max(at);
        }
        if line.refunded {
            self.charged.given_back.insert(line.of);
        }
        let charged = line.charged.iter().filter_map(charged);
        let counting: Vec<_> = charged.filter(|one| one.until > self.present).collect();
        if !counting.is_empty() {
            self.charged.made.insert(line.seq, counting);
        }
        // A call that was refused has bound nothing.
        if let (Some(at), Some(bonded), "allow") = (at, &line.bond, &*line.decision)
            && at >= self.remembered
            && let Some(bond) = bonded.read()
        {
            let (first, last) = self.bonds.entry(bond).or_insert((at, at));
            (*first, *last) = (at.min(*first), at.max(*last));
        }
        for (kind, used) in
            [(ProofKind::Dpop, &line.proof.dpop), (ProofKind::Workload, &line.proof.wpt)]
        {
            let Some(used) = used else { continue };
            let until = Timestamp::from_seconds(used.until);
            if let Some(id) = bytes_of(&used.id)
                && until >= self.present
            {
                self.seen.push(FirstUse { kind, id, until });
            }
        }
    }
}

fn charged(charge: &Charge<'_>) -> Option<Charged> {
    Some(Charged {
        account: bytes_of(&charge.account)?,
        amount: (*charge.amount).into(),
        until: recovery::timestamp(&charge.until)?,
    })
}

fn bytes_of(hex: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
    const LIFETIME: Duration = Duration::from_mins(9);

    fn line(ago: u64, rest: &str) -> String {
        format!("{{\"v\":1,\"ts\":\"{}\",{rest}}}\n", NOW.before(Duration::from_secs(ago)))
    }

    fn decision(ago: u64, id: u8, ends_in: i64) -> String {
        let until = i64::try_from(NOW.seconds()).unwrap() + ends_in;
        let id = format!("{id:02x}").repeat(16);
        let proof = format!(r#""proof":{{"dpop":{{"key":"ab","use":"{id}","until":{until}}}}}"#);
        line(ago, &format!(r#""type":"decision","durability":"sync",{proof}"#))
    }

    fn found(segments: &[(u64, String)], clean: Option<bool>) -> (Vec<u8>, Option<Timestamp>) {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(segment::DIRECTORY);
        fs::create_dir(&folder).unwrap();
        for (first, text) in segments {
            fs::write(folder.join(segment::name(*first)), text).unwrap();
        }
        let recovered = Recovered { previous_clean: clean, last: NOW, ..Recovered::default() };
        let uses = read(directory.path(), &recovered, LIFETIME, LIFETIME, NOW).unwrap();
        (uses.seen.iter().map(|seen| seen.id[0]).collect(), uses.complete_since)
    }

    #[test]
    fn uses_that_have_not_ended_are_found_as_far_back_as_they_may_be() {
        let segments = [
            (0, decision(2_000, 1, 50)),
            (1, decision(700, 2, 50) + &decision(300, 3, 50)),
            (2, decision(200, 4, 50) + &decision(100, 5, -1) + &decision(1, 6, 0)),
        ];
        assert_eq!(found(&segments, Some(true)), (vec![4, 6, 2, 3], None));
    }

    #[test]
    fn v8_bonds_of_calls_that_were_let_through_are_found_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(segment::DIRECTORY);
        fs::create_dir(&folder).unwrap();
        let bond = |ago: u64, decision: &str, person: u8, grant: &str| {
            let (evidence, person) = ("01".repeat(16), format!("{person:02x}").repeat(16));
            let bond = format!(r#"{{"evidence":"{evidence}","person":"{person}"{grant}}}"#);
            let rest = format!(r#""decision":"{decision}","bond":{bond}"#);
            line(ago, &format!(r#""type":"decision","durability":"sync",{rest}"#))
        };
        let granted = format!(r#","grant":"{}""#, "0a".repeat(16));
        for (first, text) in [
            (0, bond(4_000, "allow", 9, "")),
            (1, bond(3_000, "allow", 1, &granted) + &bond(2_000, "deny", 2, "")),
            (2, bond(1_000, "allow", 3, "") + &bond(10, "allow", 1, &granted)),
            (3, bond(9, "allow", 4, r#","grant":"0a""#)),
        ] {
            fs::write(folder.join(segment::name(first)), text).unwrap();
        }
        let recovered = Recovered { previous_clean: Some(true), last: NOW, ..Recovered::default() };
        let hour = Duration::from_hours(1);
        let uses = read(directory.path(), &recovered, LIFETIME, hour, NOW).unwrap();
        let found: Vec<_> = uses
            .bonds
            .iter()
            .map(|(at, bond)| (NOW.since(*at).as_secs(), bond.person[0], bond.grant.is_some()))
            .collect();
        assert_eq!(found, [(3_000, 1, true), (1_000, 3, false), (1_000, 3, false), (10, 1, true)]);
        assert_eq!(uses.bonds_since, None);
    }

    #[test]
    fn v8_uses_that_a_batched_log_may_lack_are_taken_to_have_been_and_damage_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(segment::DIRECTORY);
        fs::create_dir(&folder).unwrap();
        let bond = format!(r#"{{"evidence":"{0}","person":"{0}"}}"#, "01".repeat(16));
        let used = line(4_000, &format!(r#""type":"decision","decision":"allow","bond":{bond}"#));
        let batched = line(4_100, r#""type":"start","durability":"batched""#);
        let hour = Duration::from_hours(1);
        let found = |text: &str, clean: bool| {
            fs::write(folder.join(segment::name(0)), text).unwrap();
            let last = NOW.before(Duration::from_secs(1_000));
            let recovered = Recovered { previous_clean: Some(clean), last, ..Recovered::default() };
            let uses = read(directory.path(), &recovered, LIFETIME, hour, NOW).unwrap();
            let ago = |at: Timestamp| NOW.since(at).as_secs();
            let bonds: Vec<_> = uses.bonds.iter().map(|(at, _)| ago(*at)).collect();
            (bonds, uses.bonds_since.map(ago))
        };
        assert_eq!(found(&(batched.clone() + &used), true), (vec![], None), "ended an hour ago");
        assert_eq!(found(&(batched + &used), false), (vec![4_000, 0], None), "used to the last");
        let sync = line(4_100, r#""type":"start","durability":"sync""#);
        let damaged = line(3_000, r#""type":"gap","why":"damaged""#);
        let unclean = line(2_000, r#""type":"gap","why":"unclean_end""#);
        let text = sync + &used + &damaged + &unclean;
        assert_eq!(found(&text, false), (vec![4_000, 4_000], Some(3_000)));
    }

    #[test]
    fn what_may_be_lost_is_said() {
        let sync = line(5, r#""type":"decision","durability":"sync""#);
        let batched = line(5, r#""type":"start","durability":"batched""#);
        let gap = |ago, why: &str| line(ago, &format!(r#""type":"gap","why":"{why}""#));
        let ago = |seconds| Some(NOW.before(Duration::from_secs(seconds)));
        for (text, clean, expected) in [
            (sync.clone(), Some(true), None),
            (sync.clone(), Some(false), None),
            (batched.clone(), Some(true), None),
            (batched + &sync, Some(false), Some(NOW)),
            (line(5, r#""type":"outcome""#), Some(false), Some(NOW)),
            (String::new(), None, None),
            (sync.clone() + &gap(100, "damaged"), Some(true), ago(100)),
            (sync.clone() + &gap(100, "unclean_end"), Some(true), ago(100)),
            (sync.clone() + &gap(100, "queue_full"), Some(true), None),
            (gap(600, "damaged") + &sync, Some(true), None),
        ] {
            assert_eq!(found(&[(0, text.clone())], clean).1, expected, "{text}");
        }
    }

    #[test]
    fn pol_023_what_was_charged_and_not_given_back_is_found_across_segments() {
        let charge = |seq: u64, amount: u64, ends_in: u64| {
            let until = NOW.after(Duration::from_secs(ends_in));
            let account = "07".repeat(16);
            let one = format!(
                r#"{{"cap":"c","account":"{account}","amount":"{amount}","until":"{until}"}}"#
            );
            line(
                60,
                &format!(r#""seq":{seq},"type":"decision","durability":"sync","charged":[{one}]"#),
            )
        };
        let outcome = |of: u64, refunded: &str| {
            line(50, &format!(r#""seq":90,"type":"outcome","of":{of},"id":"x"{refunded}"#))
        };
        let first = charge(1, 10, 5) + &charge(2, 20, 5) + &charge(3, 30, 0);
        let second = outcome(2, r#","refunded":true"#) + &outcome(1, "") + &charge(4, 40, 5);
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(segment::DIRECTORY);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(segment::name(0)), first).unwrap();
        fs::write(folder.join(segment::name(4)), second).unwrap();
        let recovered = Recovered { last: NOW, ..Recovered::default() };
        let uses = read(directory.path(), &recovered, LIFETIME, LIFETIME, NOW).unwrap();
        let amounts: Vec<_> = uses.charged.iter().map(|one| &*one.amount).collect();
        assert_eq!(amounts, ["10", "40"]);
        assert_eq!(uses.charged[0].account, [7; 16]);
    }
}
