use super::*;
use crate::audit::line::MAX_LINE;
use crate::audit::record::{Agent, Delegation, Evidence, Hop, Prompt, Text, Token, Trail, text};
use crate::audit::tag::Tagger;
use crate::model::need::{Bond, ProofKind};
use crate::model::reason::Reason;
use crate::model::time::Timestamp;

fn token(any: &str, tag: &Tag) -> Written {
    let hop = Hop {
        from: any.into(),
        to: Some(any.into()),
        authority: any,
        at: Timestamp::from_seconds(1_790_000_000),
        delegator_signature: "unverifiable",
        summary: Some(Text::Clear(any)),
        unsigned: any.to_owned(),
    };
    let hops = vec![hop; if any.len() > 1 { 8 } else { 1 }];
    let delegation = Delegation { lineage: "structural", root_evidence: Some(any), hops: &hops };
    let token = Token {
        issuer: any,
        sha256: &[0xab; 32],
        jti: Some(any),
        expires: Timestamp::from_seconds(1_790_000_000),
        agent: Agent {
            id: Some(any.into()),
            identity: Some(any.into()),
            platform: Some(any.into()),
            client: Some(any.into()),
            instance: Some(any.into()),
        },
        user: Some(tag),
        client_id: Some(any.into()),
        evidence: Some(Evidence {
            id: Some(any),
            confirmed: Timestamp::from_seconds(7),
            user_action: any,
            verified: "signature",
            summary: Some(any),
            displayed: &[0xef; 2],
        }),
        prompt: Some(Prompt {
            sha256: &[0xee; 2],
            verified: "signature",
            id: Some(any),
            issuer: Some(any),
            typed: Some(Timestamp::from_seconds(8)),
        }),
        delegation: Some(delegation),
        trail: Trail {
            proposal: Some(any),
            expansion: Some("high"),
            interface: Some(any),
            acknowledged: Some(Timestamp::from_seconds(0)),
            prompt: Some(&[0xcd; 32]),
            operation: None,
            shown: None,
            stray: Some("agent_user_binding_proposal"),
        },
    };
    Written::by(|into| token.write(into))
}

fn first_use() -> FirstUse {
    let until = Timestamp::from_seconds(1_790_000_060);
    FirstUse { kind: ProofKind::Dpop, id: [4; 16], until }
}

fn decision<'a>(any: &'a str, tag: &'a Tag, token: &'a Written) -> Decision<'a> {
    Decision {
        id: any,
        trace: Some(Trace { id: any, span: any, parent: Some(any) }),
        refusal: None,
        place: None,
        alert: None,
        observed: false,
        kept: Kept::Sync,
        resource: Some(any),
        token: Some(token),
        presenter: Some("workload"),
        evidence: None,
        bond: Some(Bond { evidence: [1; 16], person: [2; 16], grant: Some([3; 16]) }),
        proof: Some(Proof {
            certificate: Some([1; 32]),
            dpop: Some(([2; 32], Some(first_use()))),
            workload: Some(([3; 32], None)),
        }),
        scope: Some(any),
        unverified: None,
        basis: Some(Basis { entry: Some(2), how: any }),
        charged: &[],
        exceeded: None,
        policies: &[],
        operation: Some(Operation {
            protocol: "x",
            action: any,
            method: any,
            name: Some(any),
            path: any,
            session: Some(tag),
            rebound: true,
        }),
        http: Http {
            method: any,
            path: any,
            host: Some(any),
            query: Some(tag),
            body: Some(&[7; 32]),
        },
        client: Some("10.1.2.123:53252".parse().unwrap()),
        upstream: Some(any),
        elapsed: Duration::from_micros(41),
    }
}

#[test]
fn a_decision_has_the_members_of_the_specification_in_their_order() {
    let tag = Tagger::new(b"Jefe").tag(b"what do ya want for nothing?");
    let hex = "ab".repeat(32);
    let expected = format!(
        concat!(
            r#""type":"decision","id":"x","trace_id":"x","span_id":"x","parent":"x","#,
            r#""decision":"allow","reason":"granted","durability":"sync","resource":"x","#,
            r#""iss":"x","token_sha256":"{}","jti":"x","exp":1790000000,"agent":{{"id":"x","identity":"x","platform":"x","client":"x","instance":"x"}},"#,
            r#""user":{{"tag":"h1:W9zBRr9gdU5qBCQmCJV1xw"}},"client_id":"x","#,
            r#""evidence":{{"id":"x","confirmed_at":7,"user_action":"x","verified":"signature","#,
            r#""displayed_summary":"x","displayed_sha256":"efef"}},"#,
            r#""prompt_credential":{{"sha256":"eeee","verified":"signature","id":"x","iss":"x","typed_at":8}},"#,
            r#""delegation":{{"depth":1,"lineage":"structural","root_evidence":"x","hops":["#,
            r#"{{"from":"x","to":"x","as_id":"x","at":1790000000,"#,
            r#""delegator_signature":"unverifiable","summary":"x","unsigned":"x"}}]}},"#,
            r#""proposal":"x","semantic_expansion":"high","consent_interface":"x","#,
            r#""acknowledged":"1970-01-01T00:00:00.000000Z","prompt_sha256":"{}","stray":"agent_user_binding_proposal","presenter":"workload","#,
            r#""bond":{{"evidence":"01010101010101010101010101010101","person":"02020202020202020202020202020202","#,
            r#""grant":"03030303030303030303030303030303"}},"#,
            r#""proof":{{"dpop":{{"key":"0202020202020202","use":"04040404040404040404040404040404","until":1790000060}},"#,
            r#""wpt":{{"key":"0303030303030303"}},"mtls":{{"key":"0101010101010101"}}}},"scope":"x","#,
            r#""grant":{{"entry":2,"how":"x"}},"#,
            r#""op":{{"protocol":"x","action":"x","method":"x","name":"x","path":"x","session":"h1:W9zBRr9gdU5qBCQmCJV1xw","rebound":true}},"#,
            r#""http":{{"method":"x","path":"x","host":"x","query":"h1:W9zBRr9gdU5qBCQmCJV1xw","body_sha256":"{}"}},"#,
            r#""client":{{"address":"10.1.2.123","port":53252}},"upstream":"x","us":41"#
        ),
        hex,
        "cd".repeat(32),
        "07".repeat(32)
    );
    assert_eq!(text(&decision("x", &tag, &token("x", &tag))), expected);
}

#[test]
fn a_refusal_keeps_what_was_not_verified_apart_and_short() {
    let tag = Tagger::new(b"k").tag(b"v");
    let long = "i".repeat(5_000);
    let written = token("x", &tag);
    let body = Decision {
        refusal: Some(Reason::SignatureInvalid.into()),
        token: None,
        presenter: None,
        scope: None,
        unverified: Some(Unverified { issuer: Some(&long), ..Unverified::default() }),
        observed: true,
        ..decision("x", &tag, &written)
    };
    let line = text(&body);
    assert!(line.contains(r#""decision":"deny","mode":"observe","reason":"signature_invalid""#));
    assert!(line.contains(&format!(r#""unverified":{{"iss":"{}…"}}"#, "i".repeat(256))));
    assert!(!line.contains(r#""agent""#) && !line.contains(r#""user""#));
    assert_eq!(body.effect(), Effect::Opens("x"), "observed calls are forwarded");
    assert_eq!(Decision { observed: false, ..body }.effect(), Effect::None);
}

#[test]
fn the_worst_decision_fits_a_line() {
    let tag = Tagger::new(b"k").tag(b"v");
    let worst = "\u{1b}".repeat(70_000);
    let written = token(&worst, &tag);
    let all = Unverified {
        sha256: Some(&[0; 32]),
        issuer: Some(&worst),
        kid: Some(&worst),
        jti: Some(&worst),
        client_id: Some(&worst),
        agent: Some(&worst),
    };
    let line = text(&Decision { unverified: Some(all), ..decision(&worst, &tag, &written) });
    assert!(line.len() < MAX_LINE - 2_000, "{}", line.len());
    // Only a call that is allowed is charged, and its record has no scope and nothing unverified.
    let until = Timestamp::from_micros(u64::MAX);
    let charge = Charge {
        cap: "c".repeat(128).into(),
        charged: Charged { account: [0xff; 16], amount: "9".repeat(39).into(), until },
    };
    let charged = vec![charge; 8];
    let allowed = Decision { scope: None, charged: &charged, ..decision(&worst, &tag, &written) };
    let line = text(&allowed);
    assert!(line.len() < MAX_LINE - 2_000, "{}", line.len());
}

#[test]
fn pol_023_what_was_charged_and_what_did_not_fit_is_written() {
    let tag = Tagger::new(b"k").tag(b"v");
    let written = token("x", &tag);
    let until = Timestamp::from_micros(1_790_000_000_000_001);
    let charged = Charged { account: [5; 16], amount: "49.95".into(), until };
    let charged = [Charge { cap: "daily".into(), charged }];
    let line = text(&Decision { charged: &charged, ..decision("x", &tag, &written) });
    let account = "05".repeat(16);
    assert!(line.contains(&format!(
        r#","charged":[{{"cap":"daily","account":"{account}","amount":"49.95","until":"2026-09-21T14:13:20.000001Z"}}],"#
    )));
    let left = Some("3".into());
    let exceeded = Exceeded { cap: "daily".into(), amount: "10".into(), left };
    let refusal = Some(Reason::BudgetExceeded.into());
    let line =
        text(&Decision { refusal, exceeded: Some(&exceeded), ..decision("x", &tag, &written) });
    assert!(line.contains(r#","exceeded":{"cap":"daily","amount":"10","left":"3"},"#), "{line}");
}
