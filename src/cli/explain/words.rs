//! The numbered checks of evidence and of delegation chains, in words.

/// What the check called `number` asks for, where it is one.
pub(super) fn check(number: &str) -> Option<&'static str> {
    Some(match number {
        "D1" => "the chain is a list, of no more hops than `issuer.delegation.max_depth`",
        "D2" => "every record of the chain has its members, all records in one shape",
        "D4" => "`act.sub` is the agent that the newest record delegates to",
        "D5" => "actors inside of `act` are those of the chain",
        "D6" => "each record is by the agent that the record before it delegated to",
        "D7" => "nobody delegates to themselves, or appears twice",
        "D8" => "the newest record is by the issuer of the token",
        "D9" => "every record is by a server that the issuer's configuration trusts",
        "D10" => "the records are in the order of time, and none is too old or of the future",
        "D11" => "every record is signed by its server",
        "D12" => "every agent's own signature verifies, and is there where it must be",
        "D13" => "no hop has scopes that the hop before it had not",
        "D15" => "all records name one root evidence, which is that of the token",
        "D17" => "the token is presented by the agent that it was delegated to",
        "V1" => "it has its members, in their types and sizes",
        "V2" => "it is signed by the issuer's server",
        "V3" => "it is not younger than the token, and not of the future",
        "V5" => "it is for the person, client and policy of the token",
        "V6" => "the person confirmed it within `evidence_max_age`",
        "V7" => "what the person did to confirm is one of `user_actions`",
        "V8" => "it was not used for another grant",
        "V9" => "there is a confirmation of the person",
        _ => return None,
    })
}
