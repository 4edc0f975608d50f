//! Remembering never changes an answer: after any sequence of events the decision with a memory is the
//! decision without one (`verification.md`, result caching; R-VER-026).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::Request;
use http::request::Parts;
use opgate::decide::admit::admit;
use opgate::decide::call;
use opgate::decide::consult::Question;
use opgate::decide::facts::{Facts, Fed, Heard, Keys, Known, Listed, Policies, Stop};
use opgate::decide::permit::Permit;
use opgate::model::need::Need;
use opgate::model::reason::Denial;
use opgate::model::time::Timestamp;
use opgate::operation::head::Transport;
use opgate::policy::library::Library;
use opgate::state::Snapshot;
use opgate::token::extract::extract;
use opgate::token::feed::Feed;
use opgate::token::grant::Grant;
use opgate::token::introspection::{Answer, Introspected};
use opgate::token::keys::KeySet;
use opgate::token::revocation::{Set, Target};
use opgate::token::status::StatusList;
use opgate::{config, decide};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::issuer::b64;
use crate::support::jwks::set;
use crate::support::{Key, Token};

const START: u64 = 1_790_000_000;
const LIST: &str = "https://as.test/list";
/// The lines of the issuer and of the resource, as they are reconfigured.
const CONFIGURATIONS: [(&str, &str); 6] = [
    ("", "opaque_tokens = \"https://as.test\""),
    ("leeway = \"0s\"", "opaque_tokens = \"https://as.test\""),
    ("algorithms = [\"ES256\"]", "opaque_tokens = \"https://as.test\""),
    ("status = \"required\"", ""),
    ("revocation_feed = \"https://as.test/feed\"", "introspection = \"always\""),
    ("max_lifetime = \"1m\"", "opaque_tokens = \"https://as.test\"\nscopes = [\"x\"]"),
];

/// What never changes: keys, tokens and configurations.
struct Stage {
    keys: [Key; 2],
    snapshots: Vec<Snapshot>,
    calls: Vec<Parts>,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let keys = [Key::new("EdDSA", "k1"), Key::new("EdDSA", "k2")];
    let token = |jti: &str, lifetime: u64| {
        let token = Token::new().claim("jti", jti).claim("iat", START).claim("scope", "x");
        token.claim("exp", START + lifetime).claim("nbf", START)
    };
    let status = json!({"status_list": {"idx": 1, "uri": LIST}});
    let tokens = [
        token("a", 300).sign(&keys[0]),
        token("b", 300).sign(&keys[1]),
        token("c", 60).claim("status", status).sign(&keys[0]),
        token("d", 300).without_header("kid").header("kid", Value::Null).sign(&keys[0]),
        token("e", 300).claim("sub", "user-2").claim("act", json!({"sub": "robot"})).sign(&keys[1]),
        "opaque".to_owned(),
    ];
    Stage {
        snapshots: CONFIGURATIONS.map(snapshot).into(),
        calls: tokens.iter().map(|token| call_with(token)).collect(),
        keys,
    }
});

fn snapshot((issuer, resource): (&str, &str)) -> Snapshot {
    let text = format!(
        r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"
[[issuer]]
issuer = "https://as.test"
{issuer}
[issuer.introspection]
endpoint = "https://as.test/introspect"
client_id = "gate"
secret = {{ env = "SECRET" }}
[[upstream]]
name = "shop"
url = "http://127.0.0.1:1"
[[resource]]
id = "https://tools.test/shop"
upstream = "shop"
{resource}
[[resource.operation]]
action = "anything"
method = "GET"
path = "/any/**"
"#
    );
    let config = config::parse(&text, Path::new("opgate.toml")).unwrap();
    Snapshot::build(Arc::new(config)).unwrap()
}

fn call_with(token: &str) -> Parts {
    let request = Request::get("/shop/any/1").header("host", "tools.test");
    request.header("authorization", format!("Bearer {token}")).body(()).unwrap().into_parts().0
}

/// What can happen between two calls.
#[derive(Clone, Debug)]
enum Event {
    /// The issuer serves these of the two keys, possibly under each other's names.
    Keys { first: bool, second: bool, swapped: bool },
    /// The operator revokes these, by number, and lifts everything else.
    Revoke(Vec<usize>),
    /// The issuer's feed says so.
    Feed(Vec<usize>),
    /// The list gives the token this status.
    List(u8),
    /// Asked anew, the issuer says that its tokens are active, or that they are not.
    Active(bool),
    /// The operator's configuration is another one.
    Configure(usize),
    /// The clock moves.
    Clock(i64),
    /// A call with this token.
    Call(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let several = || prop::collection::vec(0..NAMES.len(), 0..3);
    prop_oneof![
        2 => any::<(bool, bool, bool)>()
            .prop_map(|(first, second, swapped)| Event::Keys { first, second, swapped }),
        2 => several().prop_map(Event::Revoke),
        1 => several().prop_map(Event::Feed),
        1 => (0..4_u8).prop_map(Event::List),
        1 => any::<bool>().prop_map(Event::Active),
        2 => (0..CONFIGURATIONS.len()).prop_map(Event::Configure),
        3 => (-90..120_i64).prop_map(Event::Clock),
        12 => (0..6_usize).prop_map(Event::Call),
    ]
}

const NAMES: [(&str, &str); 6] = [
    ("jti", "a"),
    ("sub", "user-1"),
    ("sub", "user-2"),
    ("agent", "robot"),
    ("client_id", "agent-1"),
    ("issuer", "https://as.test"),
];

/// The world as it is, and what two gates make of it.
struct World {
    now: Timestamp,
    configured: usize,
    known: Known,
    revoked: Set,
    active: bool,
    introspected: HashMap<usize, Arc<Introspected>>,
    memory: HashMap<usize, Arc<Grant>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Timestamp::from_seconds(START + 1),
            configured: 0,
            known: Known {
                keys: vec![Keys::Missing],
                heard: vec![Heard::default()],
                ..Known::default()
            },
            revoked: Set::default(),
            active: true,
            introspected: HashMap::new(),
            memory: HashMap::new(),
        };
        world.happen(&Event::Keys { first: true, second: true, swapped: false });
        world.happen(&Event::List(0));
        world.happen(&Event::Feed(Vec::new()));
        world
    }

    fn keys(&self) -> Option<&Arc<KeySet>> {
        match &self.known.keys[0] {
            Keys::Obtained(keys) => Some(keys),
            Keys::Missing => None,
        }
    }

    fn happen(&mut self, event: &Event) {
        let issuer = &STAGE.snapshots[0].world.issuers[0];
        match event {
            Event::Keys { first, second, swapped } => {
                self.known.keys[0] = Keys::Obtained(Arc::new(served([*first, *second], *swapped)));
            }
            Event::Revoke(names) => self.revoked = revoked(names),
            Event::Feed(names) => {
                let listed: Vec<Value> =
                    names.iter().map(|n| json!({ NAMES[*n].0: NAMES[*n].1 })).collect();
                let text = json!({"iss": "https://as.test", "revocations": listed}).to_string();
                let feed = Feed::read(text.as_bytes(), issuer, None, self.now).unwrap();
                let fed = Fed { feed: Arc::new(feed), confirmed: self.now };
                self.known.heard[0].feed = Some(fed);
            }
            Event::List(status) => self.publish_list(*status),
            Event::Active(active) => self.active = *active,
            Event::Configure(which) => self.configured = *which,
            Event::Clock(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                self.now = if *seconds < 0 { self.now.before(by) } else { self.now.after(by) };
            }
            Event::Call(_) => {}
        }
    }

    fn publish_list(&mut self, status: u8) {
        let mut packer =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packer, &[status << 2]).unwrap();
        let lst = b64(&packer.finish().unwrap());
        let payload = json!({
            "sub": LIST, "iat": START - 3_600, "ttl": 100,
            "status_list": {"bits": 2, "lst": lst},
        });
        let token = Token { header: json!({"typ": "statuslist+jwt"}), payload };
        let text = token.sign(&STAGE.keys[0]);
        let issuer = &STAGE.snapshots[0].world.issuers[0];
        let Some(keys) = self.keys() else { return };
        let Ok(list) = StatusList::read(&text, LIST, issuer, keys, self.now) else { return };
        let until = list.usable_until(self.now, Duration::from_mins(1));
        let listed = Listed { list: Arc::new(list), fetched: self.now, until };
        let lists = HashMap::from([(LIST.into(), listed)]);
        self.known.heard[0].lists = Arc::new(lists);
    }

    /// The answer to a call, and the grant behind it; introspection answers as the issuer would, and
    /// what else is lacking is not to be had.
    fn decide(
        &mut self,
        which: usize,
        remembered: Option<&Arc<Grant>>,
    ) -> (Option<Arc<Grant>>, Result<Permit, Denial>) {
        let parts = &STAGE.calls[which];
        let world = &STAGE.snapshots[self.configured].world;
        let call = call::receive(parts, Transport::default(), world).unwrap();
        let token_header = &call.resource().token_header;
        let credentials = extract(&parts.headers, None, token_header, None).unwrap();
        let library = Library::default();
        let mut exhausted: Vec<Need> = Vec::new();
        let mut introspected = self.introspected.get(&which).cloned();
        loop {
            let facts = Facts {
                world,
                known: &self.known,
                revoked: &self.revoked,
                now: self.now,
                introspected: introspected.as_ref(),
                remembered,
                binding: None,
                exhausted: &exhausted,
                policies: Policies::of(&library),
            };
            let mut found = None;
            let step = decide::authenticate(&call, &credentials, &facts).and_then(|grant| {
                found = Some(Arc::clone(&grant));
                let presenter = admit(&call, &credentials, &grant, &facts)?;
                let (call, grant, presenter, headers) =
                    (&call, &*grant, &presenter, &parts.headers);
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
                Ok(decide::authorize(&question, &facts)?.verdict?)
            });
            match step {
                Ok(permit) => return (found, Ok(permit)),
                Err(Stop::Refuse(denial)) => return (found, Err(denial)),
                Err(Stop::Policies(lacks)) => panic!("no token here has a policy: {lacks:?}"),
                Err(Stop::Need(need)) => {
                    if matches!(need, Need::Introspection(_)) {
                        introspected = Some(self.introspect(which));
                    }
                    assert!(!exhausted.contains(&need), "{need:?} is asked for twice");
                    exhausted.push(need);
                }
            }
        }
    }

    /// Asks anew where the answer at hand has ended, as the world does.
    fn introspect(&mut self, which: usize) -> Arc<Introspected> {
        let mut members = Token::new().payload;
        for (name, value) in [("iat", json!(START)), ("exp", json!(START + 200))] {
            members[name] = value;
        }
        if which != 5 {
            members = json!({});
        }
        let answer = if which == 4 || !self.active {
            Answer::Inactive
        } else {
            Answer::Active(object(members))
        };
        let until = self.now.after(Duration::from_secs(30));
        let fresh = Arc::new(Introspected { answer, asked: self.now, until });
        self.introspected.insert(which, Arc::clone(&fresh));
        fresh
    }

    fn call(&mut self, which: usize) -> (Option<Denial>, Option<Denial>) {
        let remembered = self.memory.get(&which).cloned();
        let (_, without) = self.decide(which, None);
        let (grant, with) = self.decide(which, remembered.as_ref());
        // What is refused is not remembered, as in the world.
        match grant {
            Some(grant) => drop(self.memory.insert(which, grant)),
            None => drop(self.memory.remove(&which)),
        }
        (with.err(), without.err())
    }
}

/// Those of the two keys, and possibly each under the other's name.
fn served(there: [bool; 2], swapped: bool) -> KeySet {
    let offered = STAGE.keys.iter().zip(there).filter_map(|(key, there)| there.then_some(key));
    let mut document = set(&offered.collect::<Vec<_>>());
    for key in document["keys"].as_array_mut().unwrap().iter_mut().filter(|_| swapped) {
        let other = if key["kid"] == "k1" { "k2" } else { "k1" };
        key["kid"] = json!(other);
    }
    KeySet::from_jwks(document.to_string().as_bytes()).unwrap().0
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("{value} is no object") };
    members
}

fn revoked(names: &[usize]) -> Set {
    let target =
        |n: &usize| Target::read(&object(json!({ NAMES[*n].0: NAMES[*n].1 })), &[]).unwrap();
    let targets: Vec<Target> = names.iter().map(target).collect();
    targets.iter().map(|target| (target, None)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ver_026_no_order_of_events_lets_the_memory_change_an_answer(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
            if let Event::Call(which) = event {
                let (with, without) = world.call(*which);
                prop_assert_eq!(with, without, "token {} after {:?}", which, events);
            }
        }
    }
}

/// That the model is worth something: each of its tokens is let through at first, and each kind of
/// event then changes an answer.
#[test]
fn ver_026_every_kind_of_event_changes_an_answer_that_was_remembered() {
    for (which, event, reason) in [
        (0, Event::Keys { first: false, second: true, swapped: false }, "key_unknown"),
        (0, Event::Keys { first: true, second: true, swapped: true }, "signature_invalid"),
        (1, Event::Revoke(vec![1]), "token_revoked"),
        (4, Event::Revoke(vec![3]), "token_revoked"),
        (2, Event::List(1), "status_invalid"),
        (0, Event::Configure(2), "algorithm_refused"),
        (0, Event::Configure(3), "claim_missing"),
        (0, Event::Clock(400), "token_expired"),
        (0, Event::Clock(-60), "token_not_yet_valid"),
        (5, Event::Clock(231), "token_expired"),
        (5, Event::Revoke(vec![5]), "token_revoked"),
        (5, Event::Configure(3), "token_malformed"),
    ] {
        let mut world = World::new();
        assert_eq!(world.call(which), (None, None), "token {which}");
        world.happen(&event);
        let (with, without) = world.call(which);
        assert_eq!(with, without);
        assert_eq!(with.unwrap().reason.code(), reason, "token {which} after {event:?}");
    }
    let mut world = World::new();
    assert_eq!(world.call(5), (None, None));
    world.happen(&Event::Active(false));
    assert_eq!(world.call(5), (None, None), "the answer is kept for its time");
    world.happen(&Event::Clock(31));
    assert_eq!(world.call(5).0.unwrap().reason.code(), "token_inactive");
    let mut world = World::new();
    world.happen(&Event::Configure(4));
    assert_eq!(world.call(0), (None, None));
    world.happen(&Event::Feed(vec![0]));
    assert_eq!(world.call(0).0.unwrap().reason.code(), "token_revoked");
    world.happen(&Event::Feed(Vec::new()));
    world.happen(&Event::Clock(31));
    assert_eq!(world.call(0).0.unwrap().reason.code(), "revocations_stale");
    world.happen(&Event::Feed(Vec::new()));
    assert_eq!(world.call(4).0.unwrap().reason.code(), "token_inactive");
}
