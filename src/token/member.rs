//! The names of claims and of the members below them that are written in one way only, each in one place
//! (`tokens.md`): most are of drafts, and may change. Those that drafts print in two ways are in [`names`].
//!
//! [`names`]: super::names

macro_rules! members {
    ($($name:ident = $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: &str = $text;
        )*
    };
}

// Registered claims (RFC 7519, 7662, 7800, 8693, 9068, 9470).
members! {
    ACR = "acr";
    ACT = "act";
    ACTIVE = "active";
    AUD = "aud";
    AUTH_TIME = "auth_time";
    AZP = "azp";
    CLIENT_ID = "client_id";
    CNF = "cnf";
    EXP = "exp";
    IAT = "iat";
    ISS = "iss";
    JTI = "jti";
    NBF = "nbf";
    SCOPE = "scope";
    SUB = "sub";
    TOKEN_INTROSPECTION = "token_introspection";
    TOKEN_TYPE = "token_type";
}

// What a token is bound to (RFC 8705, RFC 9449).
members! {
    JKT = "jkt";
    X5T_S256 = "x5t#S256";
}

// What it authorizes (RFC 9396; `tokens.md` §5).
members! {
    ACTIONS = "actions";
    AGENT_OPERATION = "agent_operation";
    AUTHORIZATION_DETAILS = "authorization_details";
    AUTHORIZATION_EVIDENCE = "authorization_evidence";
    AUTHORIZATION_POLICY = "authorization_policy";
    DATATYPES = "datatypes";
    IDENTIFIER = "identifier";
    LOCATIONS = "locations";
    OPERATIONS = "operations";
    POLICY_CONTENT = "policy_content";
    PRIVILEGES = "privileges";
    REGO_POLICY = "rego_policy";
}

// Delegation (`delegation.md` §2 and §7).
members! {
    AS_ID = "as_id";
    AS_SIGNATURE = "as_signature";
    DELEGATED_POLICY = "delegated_policy";
    DELEGATEE_ID = "delegatee_id";
    DELEGATION_CHAIN = "delegation_chain";
    DELEGATION_CHAIN_REF = "delegation_chain_ref";
    DELEGATION_TIMESTAMP = "delegation_timestamp";
    DELEGATOR_AGENT_IDENTITY = "delegator_agent_identity";
    DELEGATOR_ID = "delegator_id";
    DELEGATOR_JTI = "delegator_jti";
    DELEGATOR_SIGNATURE = "delegator_signature";
    OPERATION_SUMMARY = "operation_summary";
    ROOT_EVIDENCE_REF = "root_evidence_ref";
}

// Evidence (`evidence.md` §2 and §5).
members! {
    CREDENTIAL_SUBJECT = "credentialSubject";
    DISPLAYED_CONTENT = "displayed_content";
    EVIDENCE = "evidence";
    EVIDENCE_DETAILS = "evidence_details";
    EVIDENCE_REF = "evidence_ref";
    EXPIRATION_DATE = "expirationDate";
    POLICY_DIGEST = "policy_digest";
    TIMESTAMP = "timestamp";
    USER_ACTION = "user_action";
    USER_CONFIRMATION = "user_confirmation";
    USER_CONFIRMATION_RECORD = "user_confirmation_record";
}

// Status lists (`verification.md`, "Token Status List").
members! {
    BITS = "bits";
    IDX = "idx";
    LST = "lst";
    STATUS = "status";
    STATUS_LIST = "status_list";
    TTL = "ttl";
}

// Proofs of possession (RFC 9449 §4.2; `tokens.md` §10).
members! {
    AOAT = "aoat";
    ATH = "ath";
    HTM = "htm";
    HTU = "htu";
    NONCE = "nonce";
    OTH = "oth";
    TTH = "tth";
    WTH = "wth";
}

// Members by which other kinds of tokens are told (RFC 8725 §3.11).
members! {
    AT_HASH = "at_hash";
    C_HASH = "c_hash";
    EVENTS = "events";
    RESPONSE_TYPE = "response_type";
}
