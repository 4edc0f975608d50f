//! A second verification, written slowly from the specifications, against the program's own decision.
//!
//! Tokens and requests are made good, then changed in up to three ways of a catalog. Whether a call
//! is let through, and if not with which status and error, must be the same for both; also for a
//! token that is remembered, at a later time, under other keys.

mod agent;
mod book;
mod chain;
mod change;
mod draft;
mod hops;
mod json;
mod members;
mod prompt;
mod proof;
mod request;
mod setting;
mod tokens;
mod uses;
mod workload;

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use opgate::decide::admit::admit;
use opgate::decide::call;
use opgate::decide::consult::Question;
use opgate::decide::facts::{Facts, Heard, Keys, Known, Listed, Policies, Stop};
use opgate::model::need::Obligation;
use opgate::model::reason::{Denial, Reason};
use opgate::model::time::Timestamp;
use opgate::operation::head::Transport;
use opgate::policy::library::{Lack, Library};
use opgate::proxy::reject;
use opgate::state::Snapshot;
use opgate::token::extract::extract;
use opgate::token::grant::Grant;
use opgate::token::keys::KeySet;
use opgate::token::revocation::Set;
use opgate::token::status::StatusList;
use opgate::{config, decide};
use proptest::prelude::*;

use self::book::{Asked, Told};
use self::change::Change;
use self::draft::{Draft, NOW, good};
use self::hops::HOPS;
use self::setting::ISSUERS;
use crate::support::issuer::b64;

/// Every change: those to any token, and then those to what a delegated one carries.
static CATALOG: LazyLock<Vec<(&str, Change)>> =
    LazyLock::new(|| change::plain().chain(hops::carried()).collect());

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

/// All that can be had of a policy here: its text is read as a program.
fn compile(library: &Library, lack: &Lack) {
    if let Lack::Compiled(text) = lack {
        drop(library.compiled.compiled(&text.source()));
    }
}

impl Program {
    fn new() -> Self {
        Self { known: KNOWN.clone(), remembered: None }
    }

    fn told(&mut self, asked: &Asked, now: u64) -> (Told, Option<Reason>) {
        match self.decide(asked, Timestamp::from_micros(now)) {
            Ok(_) => (book::OK, None),
            Err(Denial { reason, .. }) => {
                let shape = reject::of(reason);
                ((shape.status.as_u16(), shape.error), Some(reason))
            }
        }
    }

    /// The steps of `proxy::gate`, in its order, up to what the permit owes.
    fn decide(&mut self, asked: &Asked, now: Timestamp) -> Result<Vec<Obligation>, Denial> {
        let target = match &asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.clone(),
        };
        let mut request = http::Request::builder().method(&*asked.method).uri(target);
        request = request.header("host", "tools.test");
        for line in &asked.authorization {
            request = request.header("authorization", line);
        }
        for (name, lines) in [
            ("dpop", &asked.proofs),
            ("workload-identity-token", &asked.identities),
            ("workload-proof-token", &asked.workload_proofs),
        ] {
            for line in lines {
                request = request.header(name, line);
            }
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
        let (call, grant, presenter, headers) = (&call, &*grant, &presenter, &parts.headers);
        let question = Question {
            schema: None,
            call,
            grant,
            presenter,
            headers,
            client: None,
            body: None,
            is_unread: false,
        };
        let decided = self.settle(now, None, |facts| decide::authorize(&question, facts))?;
        decided.verdict.map(|permit| permit.obligations().to_vec())
    }

    /// A world in which no fact can be had beyond those that are known.
    fn settle<T>(
        &self,
        now: Timestamp,
        remembered: Option<&Arc<Grant>>,
        step: impl Fn(&Facts<'_>) -> Result<T, Stop>,
    ) -> Result<T, Denial> {
        let (mut exhausted, revoked) = (Vec::new(), Set::default());
        let (library, mut tried) = (Library::default(), Vec::new());
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
                policies: Policies { tried: &tried, ..Policies::of(&library) },
            };
            match step(&facts) {
                Ok(done) => return Ok(done),
                Err(Stop::Refuse(denial)) => return Err(denial),
                Err(Stop::Need(need)) => exhausted.push(need),
                Err(Stop::Policies(lacks)) => {
                    for lack in &lacks {
                        compile(&library, lack);
                    }
                    tried.extend(lacks);
                }
            }
            assert!(exhausted.len() < 8, "needs without end: {exhausted:?}");
        }
    }
}

/// What is known of the issuers once their keys are obtained.
fn known(keys: &[Vec<setting::Key>]) -> Known {
    let obtained = setting::sets(keys).into_iter().enumerate().map(|(at, set)| {
        let (keys, left_out) = KeySet::from_jwks(set.as_bytes()).unwrap();
        assert_eq!(left_out, [], "{at}");
        let is_away = ISSUERS.get(at).is_some_and(|issuer| issuer.away);
        if is_away { Keys::Missing } else { Keys::Obtained(Arc::new(keys)) }
    });
    let mut heard = vec![Heard::default(); ISSUERS.len()];
    heard[HOPS] = Heard { lists: Arc::new(HashMap::from([LISTED.clone()])), feed: None };
    Known { keys: obtained.collect(), heard, ..Known::default() }
}

/// The one status list, as it was fetched when the issuer had all of its keys.
static LISTED: LazyLock<(Box<str>, Listed)> = LazyLock::new(|| {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&proof::LIST).unwrap();
    let text = hops::list(&b64(&packed.finish().unwrap()));
    let set = setting::sets(&KEYS)[HOPS].clone();
    let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
    let at = Timestamp::from_micros(now());
    let issuer = &SNAPSHOT.world.issuers[HOPS];
    let list = StatusList::read(&text, proof::LIST_URI, issuer, &keys, at).unwrap();
    let until = Timestamp::from_micros(now() + 1_000_000 * SECOND);
    (proof::LIST_URI.into(), Listed { list: Arc::new(list), fetched: at, until })
});

/// Drafts that are let through unless they are changed: of a bearer, of one whose consent was delegated,
/// and of one who must prove a key as well.
const GOOD: draft::Choice = (0, 0, 0);
const DELEGATED: draft::Choice = (5, 0, 0);
const BOUND: draft::Choice = (6, 0, 0);

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
        "{what}: {reason:?}, header {}, payload {}, {} {} {:?} {:?} {:?}",
        draft.header, draft.payload, draft.method, draft.path, draft.lines, draft.hops, draft.proof
    );
    told
}

#[test]
fn unchanged_drafts_are_let_through_or_refused_for_what_they_ask() {
    let mut seen = BTreeSet::new();
    for place in 0..7 {
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

/// Makes every change of `changes` alone, in so many forms, to each of `choices`, which are good, and to
/// some drafts of the first so many places.
fn each_alone(
    changes: impl Iterator<Item = (&'static str, Change)>,
    forms: usize,
    choices: &[draft::Choice],
    places: usize,
) -> BTreeSet<Told> {
    let mut seen = BTreeSet::new();
    for choice in choices {
        assert_eq!(agreed(&good(*choice), "unchanged"), book::OK, "{choice:?}");
    }
    for (name, change) in changes {
        let mut harmful = 0;
        for form in 0..forms {
            let judge = |choice| {
                let mut draft = good(choice);
                change(&mut draft, form);
                agreed(&draft, &format!("{name}, form {form} of {choice:?}"))
            };
            for choice in choices {
                let after = judge(*choice);
                harmful += usize::from(after != book::OK);
                seen.insert(after);
            }
            seen.insert(judge((form % places, form, form / 3)));
        }
        assert!(harmful > 0, "{name} never has a consequence");
    }
    seen
}

#[test]
fn every_change_alone_in_every_form_is_judged_as_the_book_says() {
    let seen = each_alone(change::plain(), 66, &[GOOD], 5);
    // The catalog is rich enough to meet every answer that the book knows.
    let statuses: BTreeSet<_> = seen.iter().map(|(status, _)| *status).collect();
    assert_eq!(Vec::from_iter(statuses), [200, 400, 401, 403, 404, 405, 500, 503]);
}

#[test]
fn every_change_to_a_chain_its_evidence_or_a_proof_is_judged_as_the_book_says() {
    // The records have the most members; everything else has fewer forms.
    let (of_records, others): (Vec<_>, Vec<_>) = hops::carried()
        .partition(|(name, _)| name.contains("member of a record") || name.contains("agent's own"));
    let mut seen = each_alone(of_records.into_iter(), 102, &[DELEGATED, BOUND], 7);
    seen.extend(each_alone(others.into_iter(), 44, &[DELEGATED, BOUND], 7));
    for told in [
        book::INVALID_CHAIN,
        book::INVALID_TOKEN,
        book::UNAVAILABLE,
        (400, "bad_request"),
        (401, "invalid_dpop_proof"),
        (401, "invalid_workload_proof"),
        (403, "insufficient_authorization"),
    ] {
        assert!(seen.contains(&told), "{told:?} in {seen:?}");
    }
}

/// Forms of changes to a delegated draft that are harmless, so that each chapter of the book is read to its
/// end; the next form of each is not.
#[test]
fn what_is_good_in_another_way_is_let_through() {
    for (name, harmless, harmful) in [
        ("a chain of tokens", &[0, 1, 2][..], 3),
        ("a member of a record of a token", &[4 * 10, 4 * 18 + 2, 4 * 22], 4 * 16),
        ("an agent's own signature", &[0, 1, 10, 11, 20, 31], 17),
        ("a prompt", &[0, 2], 1),
        ("a member of the prompt", &[7, 13, 15, 20], 5),
        ("a member of what was typed", &[1, 4, 6], 5),
        ("the header of the prompt", &[0, 1, 4, 5, 6, 9, 17], 7),
        ("a workload", &[0, 1, 2, 5], 3),
        ("a member of the workload's identity", &[11, 13], 2),
        ("a member of the workload's proof", &[5, 10, 11, 15, 20], 2),
        ("the header of what a workload shows", &[0, 3, 14, 22, 24], 4),
    ] {
        let (_, change) = CATALOG.iter().find(|(own, _)| *own == name).unwrap();
        let told = |form: usize| {
            let mut draft = good(DELEGATED);
            change(&mut draft, form);
            agreed(&draft, &format!("{name}, form {form}"))
        };
        for form in harmless {
            assert_eq!(told(*form), book::OK, "{name}, form {form}");
        }
        assert_ne!(told(harmful), book::OK, "{name}, form {harmful}");
    }
}

/// Where the changes to what a token carries begin in the catalog.
static PLAIN_CHANGES: LazyLock<usize> = LazyLock::new(|| change::plain().count());

type Changes = Vec<(usize, usize)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((0..CATALOG.len(), 0..102_usize), 0..=3)
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
        choice in (0..7_usize, 0..9_usize, 0..6_usize),
        changes in changes(),
    ) {
        let names: Vec<_> = changes.iter().map(|(change, form)| (CATALOG[*change].0, form)).collect();
        agreed(&changed(choice, &changes), &format!("{choice:?} {names:?}"));
    }

    #[test]
    fn changes_to_what_a_token_carries_are_judged_together_as_the_book_says(
        place in 5..7_usize,
        target in 0..4_usize,
        key in 0..6_usize,
        carried in prop::collection::vec((*PLAIN_CHANGES..CATALOG.len(), 0..102_usize), 1..=3),
        other in prop::collection::vec((0..*PLAIN_CHANGES, 0..102_usize), 0..=1),
    ) {
        let choice = (place, target, key);
        let changes = [carried, other].concat();
        let names: Vec<_> = changes.iter().map(|(change, form)| (CATALOG[*change].0, form)).collect();
        agreed(&changed(choice, &changes), &format!("{choice:?} {names:?}"));
    }

    /// R-VER-026: whatever was answered first, what is answered later is what the book says of that
    /// time and those keys, with the grant remembered.
    #[test]
    fn ver_026_remembering_never_changes_an_answer(
        choice in (0..7_usize, 0..9_usize, 0..6_usize),
        changes in prop::collection::vec((0..CATALOG.len(), 0..102_usize), 0..=1),
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
