//! The table of keys: what may stand in the file, of what kind, and what holds when it does not.
//!
//! One definition, many uses: the structural check (`raw`), the defaults (`raw::Section`), the
//! reference for people ([`markdown`]) and the schema for editors ([`json_schema`]).

use serde_json::{Map, Value, json};

/// One key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table it stands in: `gate.tls`; empty for the top of the file.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds when it is not set.
    pub fallback: Fallback,
    /// What it does, and why the default is what it is.
    pub meaning: &'static str,
}

/// What the value of a key is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One of the given words.
    Choice(&'static [&'static str]),
    /// An array of the given words.
    Choices(&'static [&'static str]),
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// A duration from the first to the second, both in milliseconds.
    Duration(u64, u64),
    /// A table of the operator's own making.
    Json,
    /// A string, or an array of strings, of the form that the word names.
    OneOrMore(&'static str),
    /// A number of bytes from the first to the second, as an integer or as `64KiB`.
    Size(u64, u64),
    /// `true` or `false`.
    Switch,
    /// The table of the section that the word names.
    Table(&'static str),
    /// An array of tables of the section that the word names.
    Tables(&'static str),
    /// A string of the form that the word names.
    Text(&'static str),
    /// An array of strings of the form that the word names.
    Texts(&'static str),
}

/// What holds when a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The file is refused.
    Required,
    /// This value, as it would be written.
    Value(&'static str),
    /// What these words say.
    Without(&'static str),
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;
const GIB: u64 = 1_024 * MIB;

use Fallback::{Required, Value as Default, Without};
use Kind::{
    Choice, Choices, Count, Duration, Json, OneOrMore, Size, Switch, Table, Tables, Text, Texts,
};

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    fallback: Fallback,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, fallback, meaning }
}

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("", "gate", Table("gate"), Required, "The listeners and how agents reach them."),
    key("", "limits", Table("limits"), Without("every limit has its default"), "A bound on everything that a caller can make the gate hold or wait for."),
    key("", "admin", Table("admin"), Without("no admin listener"), "Health, metrics and reload, never on the gate's port."),
    key("", "issuer", Tables("issuer"), Required, "Whom the gate trusts to issue tokens; at least one."),
    key("", "workload_issuer", Tables("workload_issuer"), Without("no workloads are known"), "Trust domains whose workload identity tokens (WIMSE) are taken."),
    key("", "agent_directory", Tables("agent_directory"), Without("no agent's signature can be verified"), "Where agents' own keys are found, to verify what they sign when they delegate."),
    key("", "prompt_issuer", Tables("prompt_issuer"), Without("no prompt is verified"), "Clients whose word for what a person typed can count, with `accept_prompt_credential`."),
    key("", "upstream", Tables("upstream"), Required, "Where permitted calls go; at least one."),
    key("", "resource", Tables("resource"), Required, "The APIs behind the gate; at least one."),
    key("", "audit", Table("audit"), Without("every key has its default"), "The journal of decisions."),
    key("", "policies", Table("policies"), Without("every key has its default"), "The operator's policies that tokens may name, and what is kept of others."),
    key("", "revocations", Table("revocations"), Without("every key has its default"), "What the operator revokes at this gate: `opgate revoke`."),

    key("gate", "listen", OneOrMore("endpoint"), Required, "Address and port, or `unix:/path`; one or several. Required, because which network is served is the operator's decision."),
    key("gate", "origin", Text("origin"), Required, "Scheme and authority by which agents reach the gate: it stands in challenges, in metadata and in proofs of possession. Required, because behind a proxy it cannot be known otherwise."),
    key("gate", "hosts", Texts("authority"), Default("[]"), "Further authorities that requests may name. None by default, because a request for a host nobody configured is a mistake or an attack."),
    key("gate", "tls", Table("gate.tls"), Without("plain HTTP"), "Certificate and key; without it something in front must end TLS."),
    key("gate", "trusted_hops", Texts("network"), Default("[]"), "Networks of proxies whose `Forwarded` and `X-Forwarded-For` are believed. None by default, because anyone can write those headers."),
    key("gate", "forwarded", Choice(&["both", "none", "standard", "legacy"]), Default("both"), "What upstreams are told about the way of the request: `Forwarded`, `X-Forwarded-*`, both or none. Both, because an upstream ignores the one it does not know."),
    key("gate", "drain", Duration(0, HOUR), Default("30s"), "How long open calls may go on after SIGTERM. The grace period that container orchestrators give by default."),
    key("gate", "threads", Count(1, 1_024), Without("one for each core"), "How many threads serve. One for each core, because the work does not block."),

    key("gate", "client_certificate_header", Table("gate.client_certificate_header"), Without("the certificate of the connection"), "How a proxy that ends TLS passes the caller's certificate on (RFC 9440)."),

    key("gate.client_certificate_header", "header", Text("header name"), Default("client-cert"), "The header. Its value is that of RFC 9440, or PEM in percent-encoding. The name that the RFC gives it."),
    key("gate.client_certificate_header", "peers", Texts("network"), Required, "Addresses of the proxies that are believed; from anyone else the header is removed unread. Required, because anyone can write it."),
    key("gate.client_certificate_header", "verified", Switch, Default("false"), "Whether these proxies have verified the chain of the certificate, so that the names in it count. Off, because a token is bound to the certificate and not to its names."),

    key("gate.tls", "certificate", Text("path"), Required, "The certificate chain (PEM), leaf first; reloaded when the file changes."),
    key("gate.tls", "key", Text("path"), Required, "The private key (PEM)."),
    key("gate.tls", "client_certificate", Choice(&["none", "request", "verify", "require"]), Default("none"), "Whether callers show a certificate: `request` takes any whose key is proven (RFC 8705 §2.2), `verify` checks one that is shown, `require` demands it. None, because browsers prompt for one when they are asked."),
    key("gate.tls", "client_ca", Text("path"), Without("no roots"), "Roots (PEM) for `verify` and `require`; an error with the others, where it would do nothing."),

    key("limits", "connections", Count(1, 1_000_000), Default("20000"), "Connections open at one time over all listeners. At some 20 KiB each this stays below 400 MiB."),
    key("limits", "connections_per_source", Count(1, 1_000_000), Default("10000"), "Connections open at one time from one address. Half of all, so that one address cannot take every place, and a proxy in front still has enough."),
    key("limits", "streams", Count(1, 100_000), Default("200"), "HTTP/2 requests open at one time on one connection. Twice what RFC 9113 asks for at least."),
    key("limits", "header_bytes", Size(8 * KIB, MIB), Default("32KiB"), "Request line and headers together. Room for an 8 KiB token, a proof and a chain of actors."),
    key("limits", "header_count", Count(16, 1_000), Default("100"), "Header lines. What the HTTP parser holds without allocating."),
    key("limits", "header_timeout", Duration(100, 10 * MINUTE), Default("10s"), "From the first byte of a head to its end, and from accept to the first byte. Long for any client, short for one that holds connections open on purpose."),
    key("limits", "handshake_timeout", Duration(100, 10 * MINUTE), Default("10s"), "For the TLS handshake. As `header_timeout`."),
    key("limits", "keep_alive", Duration(SECOND, DAY), Default("75s"), "How long a connection may stay idle between requests. Longer than the 60 s of common load balancers, so that they close first and no call is lost."),
    key("limits", "body_idle", Duration(100, DAY), Default("30s"), "The longest pause inside a body, in either direction. A peer that says nothing for longer has gone away; an event stream may be silent for fifteen minutes."),
    key("limits", "body_timeout", Duration(100, HOUR), Default("30s"), "From the decision to need a body to its last byte, where it is read before the decision. Such bodies are small; a caller that takes longer holds memory on purpose."),
    key("limits", "judged_bodies", Size(MIB, 64 * GIB), Default("256MiB"), "Bytes of bodies read before the decision that are held at one time; with no room left, calls that bring one are refused (503). Two hundred of the largest, and a hundred thousand common ones."),
    key("limits", "token_cache", Count(0, 10_000_000), Default("20000"), "How many verified tokens are remembered. Some 10 MiB, and more than the agents of most deployments hold at one time."),
    key("limits", "proofs", Count(1, 100_000_000), Default("1000000"), "Used proofs of possession remembered until they end; with no room left, calls that bring one are refused. At some 40 bytes each this stays below 40 MiB, and two minutes of 8000 calls in a second fit."),
    key("limits", "charges", Count(1, 100_000_000), Default("200000"), "What calls have used of caps, remembered until it no longer counts; with no room left, calls that a cap counts are refused. One for each party and each moment (a thousandth of the window) at which something ends; at some 400 bytes each this stays below 80 MiB."),
    key("limits", "evidence", Count(1, 100_000_000), Default("200000"), "Ids of evidence remembered with whom they were for; with no room left, calls are refused where `evidence_reuse` is `refuse`, and elsewhere their records say so. At some 100 bytes each this stays below 20 MiB."),
    key("limits", "evidence_memory", Duration(MINUTE, 7 * DAY), Default("1h"), "How long that is remembered after the last use. At each start the log is read as far back, and an hour of it is read in seconds."),
    key("limits", "refusals_per_source", Count(1, 1_000_000), Default("60"), "Refusals recorded one by one in a minute: of callers without a valid token, from one source; by caps, of one token. More are counted in one record. One a second shows an attack without letting it fill the disk."),

    key("admin", "listen", Text("endpoint"), Required, "Address and port, or `unix:/path`; not one of the gate's. Should not leave the machine."),

    key("issuer", "issuer", Text("URL"), Required, "`iss` of its tokens, compared octet by octet. `https`, or `http` on a loopback host."),
    key("issuer", "algorithms", Texts("algorithm"), Without("every supported algorithm"), "Which `alg` its tokens may use: ES256, ES384, EdDSA, PS256, RS256. All by default, because each is asymmetric and a key is used with its own algorithm only."),
    key("issuer", "allow_typ", Choices(&["JWT", ""]), Default("[]"), "Values of `typ` that are taken beside `at+jwt`; the empty string is a token without `typ`. None by default, so that an ID token never passes for an access token (RFC 9068 §4)."),
    key("issuer", "leeway", Duration(0, 120 * SECOND), Default("30s"), "How far clocks may differ; at most 120s. Clocks that are synchronized differ by less."),
    key("issuer", "max_lifetime", Duration(SECOND, 365 * DAY), Default("24h"), "The longest `exp` − `iat`. A day, because what lives longer should be refreshed."),
    key("issuer", "iso8601_dates", Switch, Default("false"), "Also take dates as strings. Off, because RFC 7519 demands numbers."),
    key("issuer", "rfc9068_strict", Switch, Default("false"), "Require `client_id`. Off, because many issuers leave it out."),
    key("issuer", "scope_array", Switch, Default("false"), "Also take `scope` as an array. Off, because RFC 8693 §4.2 makes it a string."),
    key("issuer", "profile", Choice(&["oauth", "open-agent-auth"]), Default("oauth"), "`open-agent-auth` takes tokens as the public reference implementation makes them: `typ` `JWT`, RS256, and the agent's workload proven beside the token. OAuth, because its rules are the strictest. With the profile, `allow_typ` is `[\"JWT\"]` and `algorithms` is `[\"RS256\"]` where they are not set."),
    key("issuer", "require_agent_identity", Switch, Default("true"), "A token with `agent_operation_authorization` must have `agent_identity`. On, because the drafts require it."),
    key("issuer", "agent_identity_issuers", Texts("URL"), Default("[]"), "Who else than the issuer itself may have issued `agent_identity`, as draft 00 allows. Nobody, as the later drafts demand."),
    key("issuer", "binding_service", Text("URL"), Without("`agents`"), "The server below which `/api/v1/bindings/get` says which workload an agent is bound to; with `profile = \"open-agent-auth\"`. `https`, or `http` on a loopback host. Answers are believed for a minute."),
    key("issuer", "agents", Texts("workload"), Default("[]"), "The workloads (`sub` of their identity token) that may present its tokens, where `profile = \"open-agent-auth\"` has no `binding_service`."),
    key("issuer", "jwks_file", Text("path"), Without("keys by metadata of the issuer"), "A JWK Set on disk, reloaded when it changes."),
    key("issuer", "jwks_uri", Text("URL"), Without("keys by metadata of the issuer"), "A JWK Set behind a URL; `https`, or `http` on a loopback host. Metadata by default, because it follows the issuer when its keys move."),
    key("issuer", "refresh", Duration(SECOND, DAY), Default("5m"), "How often the keys are obtained anew: a removed key stops working within this time."),
    key("issuer", "ca", Text("path"), Without("the machine's roots"), "Roots (PEM) for whatever is asked of it: keys, services, lists, feed, introspection."),
    key("issuer", "status", Choice(&["if_present", "required"]), Default("if_present"), "Whether every token must refer to a status list; one that does is always checked. If present, because most issuers have none."),
    key("issuer", "status_list_hosts", Texts("authority"), Without("the issuer's own"), "Hosts that its status lists are fetched from, over `https`. Its own, because a token must not make the gate call elsewhere."),
    key("issuer", "status_max_age", Duration(SECOND, DAY), Default("15m"), "The longest that a status list is used, whatever its `ttl` says: what a revocation may take to be felt. Lists are fetched ahead of it."),
    key("issuer", "revocation_feed", Text("URL"), Without("none"), "A document that lists what the issuer has revoked, as JSON or as a JWT; `https`, or `http` on a loopback host."),
    key("issuer", "revocation_interval", Duration(100, HOUR), Default("2s"), "Between two polls of the feed. Two seconds, because whoever revokes is in a hurry; an unchanged feed is not sent again."),
    key("issuer", "revocation_max_age", Duration(SECOND, DAY), Default("30s"), "How long the feed may have been out of reach before the issuer's tokens are refused (503). Longer than a restart, shorter than a theft."),
    key("issuer", "introspection", Table("issuer.introspection"), Without("none"), "Where it is asked whether a token is active (RFC 7662)."),
    key("issuer", "policies", Table("issuer.policies"), Without("every key has its default"), "What is made of the policies that its tokens carry and name, and where they are asked for."),
    key("issuer", "delegation", Table("issuer.delegation"), Without("tokens with a delegation chain are refused"), "Accept delegation chains in its tokens; `{}` takes every default. Not by default, because a chain must die with any of its hops: it needs `introspection`, a `revocation_feed`, `status = \"required\"`, or a `max_lifetime` of `15m` or less."),

    key("issuer.introspection", "endpoint", Text("URL"), Required, "`https`, or `http` on a loopback host."),
    key("issuer.introspection", "client_id", Text("text"), Required, "As whom the gate asks; a signed answer must be for it."),
    key("issuer.introspection", "secret", Table("issuer.introspection.secret"), Without("`key` or `client_certificate`"), "For `client_secret_basic`; exactly one of `file` and `env`."),
    key("issuer.introspection", "key", Text("path"), Without("`secret` or `client_certificate`"), "A private key (PEM) for `private_key_jwt`."),
    key("issuer.introspection", "key_id", Text("text"), Without("none"), "The `kid` of `key`."),
    key("issuer.introspection", "client_certificate", Text("path"), Without("`secret` or `key`"), "Certificate chain (PEM) for `tls_client_auth`; together with `client_key`."),
    key("issuer.introspection", "client_key", Text("path"), Without("none"), "The private key (PEM) of `client_certificate`."),
    key("issuer.introspection", "cache", Duration(0, MINUTE), Default("10s"), "How long an answer is taken without asking again, at most 60s: what a revocation may take to be felt. Ten seconds spare the issuer nine calls in ten of a busy agent."),
    key("issuer.introspection.secret", "file", Text("path"), Without("`env`"), "A file; one trailing line end is not part of the secret."),
    key("issuer.introspection.secret", "env", Text("variable"), Without("`file`"), "An environment variable."),

    key("issuer.policies", "languages", Choices(&["rego", "cedar"]), Default("[\"rego\"]"), "What its policies may be written in. Rego, the one language that the drafts register; and Cedar, in a gate that was built with `--features cedar`."),
    key("issuer.policies", "rego_v0", Switch, Without("off; on with `profile = \"open-agent-auth\"`"), "Also read policies as Rego was written before version 1. Off, because the two can mean different things."),
    key("issuer.policies", "input", Choice(&["standard", "draft-flat", "open-agent-auth"]), Without("`standard`; the profile's own with `profile = \"open-agent-auth\"`"), "The form in which its policies are told of a call. `draft-flat` puts arguments at the top too, where the drafts' examples look for them. Standard, because a caller could otherwise give any name a value."),
    key("issuer.policies", "unbound", Choice(&["refuse", "pin"]), Without("`refuse`; `pin` with `profile = \"open-agent-auth\"`"), "What becomes of a policy that a token names without a digest: `pin` takes the first text behind the name and no other for as long as a token can mean it. Refuse, because whoever can change the text gives tokens another power."),
    key("issuer.policies", "endpoint", Text("URL"), Without("no registry"), "The registry that knows its policies by name: `GET` below it with the name, or as the profile asks. `https`, or `http` on a loopback host."),
    key("issuer.policies", "origins", Texts("origin"), Default("[]"), "Where its policies may be fetched from beside its own origin: `https`, or `http` on a loopback host. What is written here may lie in a private network; its own origin may not, unless it is written here too."),
    key("issuer.policies", "secret", Table("issuer.policies.secret"), Without("nothing is shown"), "A bearer token for whoever is asked for policies; exactly one of `file` and `env`."),
    key("issuer.policies", "refresh", Duration(SECOND, DAY), Default("1m"), "How long the text behind a pinned name is believed to be unchanged. A minute, as for other answers; a text that a digest ties to its token is never asked for again."),
    key("issuer.policies.secret", "file", Text("path"), Without("`env`"), "A file; one trailing line end is not part of the secret."),
    key("issuer.policies.secret", "env", Text("variable"), Without("`file`"), "An environment variable."),

    key("issuer.delegation", "max_depth", Count(1, 8), Default("5"), "The most hops after the first agent. Each is one more signature to verify and one more agent to trust."),
    key("issuer.delegation", "max_age", Duration(SECOND, 365 * DAY), Default("24h"), "How long before `iat` the first delegation may lie. A day, as for tokens."),
    key("issuer.delegation", "agent_id_schemes", Texts("URI scheme"), Without("`wit`, `spiffe`, `wimse`"), "Schemes of agents' ids. Those of workload identities, because an agent must be able to prove its id."),
    key("issuer.delegation", "preserves_foreign_chains", Switch, Default("false"), "Whether its newest record may be of another server, as with grants across domains. Off, because an issuer records what it delegates."),
    key("issuer.delegation", "delegator_signature", Choice(&["ignore", "verify", "require"]), Default("verify"), "The delegating agent's own signature: `verify` refuses one that is wrong and records one that cannot be verified, `require` demands one that verifies. Verify, because most agents do not sign yet."),
    key("issuer.delegation", "delegated_policy_mode", Choice(&["all", "newest"]), Default("all"), "Which policies of the records must allow an operation. All, so that no hop can do more than any hop before it was allowed."),
    key("issuer.delegation", "root_anchor", Choice(&["signed", "introspect"]), Default("signed"), "Whether the issuer is also asked of every token with a chain, by `[issuer.introspection]`. Signed, because every record is, and the first names the evidence of the consent."),
    key("issuer.delegation", "aoa_chain", Choice(&["signed", "structural"]), Default("signed"), "Records that name tokens instead of agents: `structural` lets those pass whose signature cannot be verified, for the record only. Signed, because anything else proves nothing."),

    key("workload_issuer", "issuer", Text("URI"), Required, "`iss` of its workload identity tokens, compared octet by octet: `https://…`, `wimse://…` or `spiffe://…`."),
    key("workload_issuer", "trust_domain", Text("authority"), Without("the authority of `issuer`"), "The authority that the identifiers of its workloads have: `spiffe://THIS/path`. It can speak of no other."),
    key("workload_issuer", "algorithms", Texts("algorithm"), Without("every supported algorithm"), "Which `alg` its tokens may use. As of an issuer."),
    key("workload_issuer", "leeway", Duration(0, 120 * SECOND), Default("30s"), "How far clocks may differ, for its tokens and for the proofs of its workloads. As of an issuer."),
    key("workload_issuer", "agents", Json, Without("each workload is the agent of its own name"), "Which agents its workloads are, where those have other ids: `{ \"wimse://td/buyer\" = \"wit://agents.example.com/buyer\" }`. It counts where a delegated token must be presented by the agent it was delegated to."),
    key("workload_issuer", "jwks_file", Text("path"), Without("`jwks_uri`"), "A JWK Set on disk; it or `jwks_uri` is required, because a trust domain has no metadata."),
    key("workload_issuer", "jwks_uri", Text("URL"), Without("`jwks_file`"), "A JWK Set behind a URL; `https`, or `http` on a loopback host."),
    key("workload_issuer", "refresh", Duration(SECOND, DAY), Default("5m"), "How often the keys are obtained anew. As of an issuer."),
    key("workload_issuer", "ca", Text("path"), Without("the machine's roots"), "Roots (PEM) for fetching its keys."),

    key("agent_directory", "agents", Text("URI"), Required, "Scheme and authority of its agents' ids: `wit://agents.example.com`. It can speak of no other agent. A key in it is that of the agent whose id is its `kid`, or of the one whose id ends in `/sha256.` and the thumbprint of the key (RFC 7638)."),
    key("agent_directory", "algorithms", Texts("algorithm"), Without("every supported algorithm"), "Which `alg` its agents may use. As of an issuer."),
    key("agent_directory", "jwks_file", Text("path"), Without("`jwks_uri`"), "A JWK Set on disk, of at most 1000 keys; it or `jwks_uri` is required, because what a token says of an agent is never followed."),
    key("agent_directory", "jwks_uri", Text("URL"), Without("`jwks_file`"), "A JWK Set behind a URL; `https`, or `http` on a loopback host."),
    key("agent_directory", "bundle_file", Text("path"), Without("`bundle_uri`, or no authorities"), "The authorities of the trust domain that `agents` begins with (`spiffe://…`): certificates in PEM, or a SPIFFE bundle in JSON, of at most 64. With them a key in the directory is that of the agent whose X.509-SVID it comes with (`x5c`), and a key without a certificate is of nobody. Read anew as often as the keys."),
    key("agent_directory", "bundle_uri", Text("URL"), Without("`bundle_file`, or no authorities"), "The same behind a URL: a SPIFFE bundle endpoint with a web certificate (`https_web`); `https`, or `http` on a loopback host."),
    key("agent_directory", "refresh", Duration(SECOND, 10 * MINUTE), Default("5m"), "How often the keys are obtained anew: a removed key stops working within this time. As of an issuer, and ten minutes at most."),
    key("agent_directory", "ca", Text("path"), Without("the machine's roots"), "Roots (PEM) for fetching its keys."),

    key("prompt_issuer", "issuer", Text("URL"), Required, "`iss` of its prompt credentials, compared octet by octet. `https`, or `http` on a loopback host."),
    key("prompt_issuer", "algorithms", Texts("algorithm"), Without("every supported algorithm"), "Which `alg` they may use. As of an issuer."),
    key("prompt_issuer", "jwks_file", Text("path"), Without("`jwks_uri`"), "A JWK Set on disk; it or `jwks_uri` is required, because a URL in a credential is never followed."),
    key("prompt_issuer", "jwks_uri", Text("URL"), Without("`jwks_file`"), "A JWK Set behind a URL; `https`, or `http` on a loopback host."),
    key("prompt_issuer", "refresh", Duration(SECOND, DAY), Default("5m"), "How often the keys are obtained anew. As of an issuer."),
    key("prompt_issuer", "ca", Text("path"), Without("the machine's roots"), "Roots (PEM) for fetching its keys."),

    key("upstream", "name", Text("name"), Required, "How resources refer to it."),
    key("upstream", "url", OneOrMore("URL"), Required, "`http://`, `https://` or `unix:/path`; several are balanced."),
    key("upstream", "http2", Switch, Default("false"), "Speak HTTP/2 to it. Off, because every server speaks HTTP/1.1."),
    key("upstream", "ca", Text("path"), Without("the machine's roots"), "Roots (PEM) for its TLS certificate."),
    key("upstream", "client_certificate", Text("path"), Without("none is shown"), "Certificate chain (PEM) shown to the upstream; together with `client_key`."),
    key("upstream", "client_key", Text("path"), Without("none"), "The private key of `client_certificate`."),
    key("upstream", "host", Text("authority"), Without("the authority of the URL"), "The `Host` sent."),
    key("upstream", "credential", Table("upstream.credential"), Without("none is sent"), "The tool's own credential, which the agent never holds."),
    key("upstream", "connections", Count(1, 100_000), Default("256"), "Connections open at one time to one address. Well below the 1024 files many servers may open."),
    key("upstream", "queue_timeout", Duration(0, 10 * MINUTE), Default("1s"), "How long a call waits for a free connection. Short, because a queue that does not move in a second is an overload that the caller should hear of."),
    key("upstream", "connect_timeout", Duration(1, 10 * MINUTE), Default("2s"), "For one connection attempt, TLS included. One lost packet is sent again within it."),
    key("upstream", "response_timeout", Duration(1, DAY), Default("60s"), "From the end of the request to the head of the response. Tools may compute for a while; nobody waits longer than a minute."),
    key("upstream", "idle_timeout", Duration(1, DAY), Default("60s"), "How long a connection is kept unused. Below the 75 s at which common servers close."),
    key("upstream", "max_age", Duration(SECOND, 30 * DAY), Default("10m"), "How long a connection is used at all, so that a change of DNS is followed."),
    key("upstream", "health", Table("upstream.health"), Without("no active checks"), "A request that shows whether an address is fit. None, because the gate cannot know a path that has no effect."),
    key("upstream", "eject_after", Count(1, 1_000_000), Default("5"), "Consecutive failures after which an address is left out. One failure is an accident, five are not."),
    key("upstream", "eject_for", Duration(1, DAY), Default("10s"), "How long an address is left out. The time a process takes to start again."),

    key("upstream.credential", "header", Text("header name"), Default("authorization"), "The header that carries it. Where most APIs look."),
    key("upstream.credential", "scheme", Text("scheme"), Without("the secret stands alone"), "What stands before the secret, with one space between."),
    key("upstream.credential", "secret", Table("upstream.credential.secret"), Required, "Where the secret is; exactly one of `file` and `env`."),
    key("upstream.credential.secret", "file", Text("path"), Without("`env`"), "A file; one trailing line end is not part of the secret."),
    key("upstream.credential.secret", "env", Text("variable"), Without("`file`"), "An environment variable."),

    key("upstream.health", "path", Text("path of a URL"), Required, "Asked with GET; a status below 400 is fit."),
    key("upstream.health", "interval", Duration(100, DAY), Default("10s"), "Between two checks. A failed address is noticed within seconds at the cost of a few requests."),
    key("upstream.health", "timeout", Duration(1, HOUR), Default("2s"), "Of one check. As `connect_timeout`."),

    key("resource", "id", Text("URL"), Required, "The resource identifier (RFC 9728), which its tokens carry as `aud`."),
    key("resource", "name", Text("text"), Without("none"), "For people, in metadata and logs."),
    key("resource", "mount", Text("path of a URL"), Without("the path of `id`"), "The path below which the gate serves it. That of `id`, because then the identifier is also the address."),
    key("resource", "upstream", Text("name"), Required, "The name of an upstream."),
    key("resource", "issuers", Texts("URL"), Without("every issuer"), "Whose tokens are accepted. Every one, because each was configured to be trusted."),
    key("resource", "opaque_tokens", Text("URL"), Without("only JWTs"), "The one of its issuers that is asked of tokens which are no JWT. None, because an opaque token does not say whose it is."),
    key("resource", "introspection", Choice(&["opaque", "always"]), Default("opaque"), "`always` asks the issuer of every token, of a JWT too. Of opaque ones, because a JWT speaks for itself."),
    key("resource", "chain_as", Texts("URL"), Default("[]"), "Further issuers whose records may stand in delegation chains. None: a chain is the token's own issuer's."),
    key("resource", "require_chain", Switch, Default("false"), "Refuse tokens with `act` and without a delegation chain. Off, because plain delegation (RFC 8693) has none."),
    key("resource", "allow_bearer_delegation", Switch, Default("false"), "Let delegated tokens of at most 15 minutes pass without proof of who presents them. Off, because then whoever finds one can use it."),
    key("resource", "authorization_servers", Texts("URL"), Without("the accepted issuers"), "What metadata names to agents; it must be the accepted issuers, and is derived from them. Set it to have that checked."),
    key("resource", "protocol", Choice(&["a2a", "http", "mcp"]), Default("http"), "What is spoken there. `mcp` is a server of the Model Context Protocol over streamable HTTP at this one path: its operations stand in the bodies, and a grant of a tool is a grant of its name. `a2a` is an agent that speaks A2A, in JSON-RPC at this path or in REST below it: a grant of `SendMessage` is one in either. HTTP, because everything else is."),
    key("resource", "mcp", Table("resource.mcp"), Without("its defaults"), "How an MCP server is spoken with."),
    key("resource", "a2a", Table("resource.a2a"), Without("its defaults"), "How an agent is spoken with."),
    key("resource", "tool", Tables("resource.tool"), Without("nothing beyond what the resource demands"), "What is demanded for tools of an MCP server. The first that matches counts."),
    key("resource", "mode", Choice(&["enforce", "observe"]), Default("enforce"), "`observe` decides and records, and forwards whatever the decision was. Enforce, because a gate that lets everything through must be asked for."),
    key("resource", "authorization", Choice(&["policy", "scope"]), Default("policy"), "`policy` needs a grant or policy that covers the operation, `scope` lets the scopes suffice. Policy, because a scope is coarser than what a person consented to."),
    key("resource", "scopes", Texts("scope"), Default("[]"), "Required of every operation. None, because grants are finer."),
    key("resource", "local_policy", Tables("resource.local_policy"), Without("none"), "Policies of the operator's own, each of which must allow every call, whatever its token says."),
    key("resource", "user_claims", Texts("name"), Default("[]"), "Claims of the token that policies see under `input.user`. None, because what a policy may see can stand in a refusal's reach."),
    key("resource", "token_claims", Texts("name"), Default("[]"), "Claims of the token that policies see under `input.token.claims`. None, as for `user_claims`."),
    key("resource", "policy_headers", Texts("header name"), Default("[]"), "Headers of the request that policies see. None, because a caller can write any; those that carry credentials are never shown."),
    key("resource", "evidence", Choice(&["ignore", "verify_if_present", "required"]), Default("verify_if_present"), "The recorded confirmation of the person: `required` refuses a token without one and says that a new consent is needed; where a token only names its evidence, an issuer with `introspection` is asked for it. If present, because most issuers record none; what is there must be right."),
    key("resource", "evidence_max_age", Duration(SECOND, 365 * DAY), Without("any age"), "How long ago the person may have confirmed."),
    key("resource", "evidence_reuse", Choice(&["record", "refuse"]), Default("record"), "What is done with evidence that was seen with another person, client or policy within `limits.evidence_memory`: its signature names none of them. Recorded, because an issuer may let a refreshed token carry less. Delegated tokens must agree in the person alone."),
    key("resource", "user_actions", Texts("name"), Without("any but `implicit_consent` where evidence is required"), "What the person must have done, any of these: `button_click`, `biometric_confirmation`, `pin_entry`, `voice_confirmation`, `hardware_key`, or an action of the issuer's own."),
    key("resource", "accept_prompt_credential", Switch, Default("false"), "Whether a client's word for what the person typed is enough where `evidence` is required and the token has no confirmation. Off, because it says what was asked for, and not that anybody agreed to it."),
    key("resource", "acr_values", Texts("acr"), Default("[]"), "How the person must have been authenticated (RFC 9470): any of these. Anyhow, because the consent was already given to somebody."),
    key("resource", "max_age", Duration(SECOND, 365 * DAY), Without("any age"), "How long ago the person may have been authenticated (RFC 9470)."),
    key("resource", "proofs", Choices(&["dpop", "mtls", "wpt"]), Default("[]"), "Proofs of possession that every call must come with: a token bound to a DPoP key, one bound to a client certificate, a workload's identity and proof. None, because a token says itself what it is bound to, and that is always proven."),
    key("resource", "dpop_algorithms", Texts("algorithm"), Without("every supported algorithm"), "Which `alg` DPoP proofs may use. All, because each is asymmetric."),
    key("resource", "dpop_nonce", Choice(&["off", "require"]), Default("off"), "Whether DPoP proofs must carry a nonce of the gate (RFC 9449 §9). Off, because it costs a round trip and each proof counts once anyway; with it, proofs cannot be made ahead."),
    key("resource", "token_header", Text("header name"), Default("x-agent-operation-token"), "Where the token stands while `Authorization` carries a workload's proof."),
    key("resource", "body_limit", Size(0, 64 * GIB), Without("1MiB; 4MiB with `protocol = \"mcp\"` or `\"a2a\"`"), "Bytes of a request body. Larger than any call of a tool, smaller than an upload."),
    key("resource", "judged_body_limit", Size(0, 64 * MIB), Without("1MiB; 4MiB with `protocol = \"mcp\"` or `\"a2a\"`"), "Bytes of a request body that is read before the decision; `body_limit` where that is less. As `body_limit`: the arguments of a call are smaller."),
    key("resource", "websocket", Switch, Default("false"), "Whether `Upgrade: websocket` may pass. Off, because what is said inside is not seen."),
    key("resource", "end_stream_at_expiry", Switch, Default("true"), "Whether a response ends when the token does. On, because an open stream would outlive the consent."),
    key("resource", "strict_override", Switch, Default("false"), "Refuse method-override headers instead of removing them. Off, because removing is as safe and breaks no client."),
    key("resource", "path_parameters", Switch, Default("false"), "Allow `;` in paths. Off, because servers disagree about what it means."),
    key("resource", "cookies", Switch, Default("false"), "Pass `Cookie` on. Off, because an agent authenticates with its token."),
    key("resource", "strip", Texts("header name"), Default("[]"), "Further request headers that never reach the upstream."),
    key("resource", "identity_headers", Switch, Default("false"), "Tell the upstream who was verified. Off, because that is personal data."),
    key("resource", "insufficient_authorization_status", Count(401, 403), Default("403"), "403 or 401: the status when a valid token does not cover the operation. 403, because another login alone does not help (RFC 6750 §3.1)."),
    key("resource", "guidance", Table("resource.guidance"), Without("enabled, with nothing added"), "What a refused agent is told that it would need."),
    key("resource", "documentation", Text("URL"), Without("none"), "Documentation of the API, for metadata."),
    key("resource", "openapi", Text("path"), Without("only what `operation` says"), "An OpenAPI 3.0 or 3.1 document, JSON or YAML: each `operationId` is an action, at its method and path below the resource. Reloaded when it changes; nothing that it refers to outside of itself is opened."),
    key("resource", "openapi_conflicts", Choice(&["error", "deny"]), Default("error"), "What becomes of paths in the document that cannot be told apart: `error` refuses the document, `deny` every call to a path that two of them claim. Error, because it is a mistake in the document; APIs that have grown for years have some."),
    key("resource", "validate", Switch, Default("false"), "Whether the JSON body and the parameters of operations that are in `openapi` must fit their schemas there; a call that does not is refused (400) with a JSON pointer to what does not fit. Then a parameter that is not described is refused too, and so is a body that is not JSON where JSON is described. Not `format`, headers, cookies, and objects in a query. Off, because documents are often looser or stricter than their servers."),
    key("resource", "operation", Tables("resource.operation"), Without("those of `openapi`"), "The operations; what is neither listed nor in `openapi` is denied. An operation that is in both has the scopes and demands that are written here."),
    key("resource", "deny", Tables("resource.deny"), Without("nothing"), "Denied whatever a token says."),
    key("resource", "confirm", Tables("resource.confirm"), Without("what `evidence` says"), "What the person must have confirmed just now, whatever `evidence` says: destructive operations, whichever document or rule gives them a name. The first that matches counts."),
    key("resource", "cap", Tables("resource.cap"), Without("nothing"), "How often, how many at one time, and how much in all. At most 8."),

    key("resource.mcp", "versions", Choices(&["2025-06-18", "2025-11-25", "2026-07-28"]), Default("[\"2025-06-18\", \"2025-11-25\", \"2026-07-28\"]"), "The revisions of the protocol that are spoken."),
    key("resource.mcp", "allow_legacy", Switch, Default("false"), "Also speak 2025-03-26, which is what a request is taken for that names no revision. Off, because then a client that forgets the header is told so. Batches are refused all the same."),
    key("resource.mcp", "filter_lists", Switch, Default("true"), "Whether lists of tools, prompts and resources hold only what the token could use. On, because an agent plans with what it sees; what is hidden is refused all the same."),
    key("resource.mcp", "definitions", Choice(&["ignore", "report", "refuse"]), Default("report"), "What becomes of a tool that the server describes otherwise than it was first heard to, or than `opgate tools approve` has approved since; and of a new tool whose name could be taken for that of another: it is recorded and its calls carry an alert, or its calls are refused. Reported, because most changes are new versions; `refuse` where an agent must not be talked into something by a description that nobody has read."),
    key("resource.mcp", "validate", Switch, Default("false"), "Whether the arguments of a tool must fit the `inputSchema` that its server gives for it; a call that does not is refused (400) with a JSON pointer to what does not fit, and so is every call of a tool whose schema cannot be read. Nothing is known of a tool before somebody has listed it. Off, because schemas are often looser or stricter than their servers."),
    key("resource.mcp", "session_unknown", Choice(&["allow_rebind", "refuse"]), Default("allow_rebind"), "What becomes of a session that the gate does not know, as after a restart: it belongs to whoever uses it first, or is refused (404), upon which clients begin a new one. Rebound, because a restart should not be felt."),
    key("resource.mcp", "origins", Texts("origin"), Default("[]"), "Values of `Origin` that may call: pages in browsers. None, because agents are no pages, and a page could reach a gate that the internet cannot."),

    key("resource.a2a", "versions", Choices(&["0.3", "1.0"]), Default("[\"0.3\", \"1.0\"]"), "The versions of the protocol that are spoken. A request that names none (`A2A-Version`) is taken for 0.3, as the standard says."),
    key("resource.a2a", "push_urls", Texts("host"), Default("[]"), "Hosts to which the agent may be told to send notifications, over `https`, with a port where it is not 443. None, because with such a URL a caller makes the agent send requests; an address is never one."),
    key("resource.a2a", "rewrite_card", Switch, Default("false"), "Whether the agent's card names the gate in place of the agent, without interfaces in gRPC and without signatures, which are of another text. Off, because an agent that signs its card can name the gate itself."),
    key("resource.a2a", "task_unknown", Choice(&["allow_rebind", "refuse"]), Default("refuse"), "What becomes of a task that the gate has not seen begin, as after a restart, or has forgotten: it is answered as one that does not exist, or belongs to whoever names it first. Refused, because one that is another's must read like one that is not there."),
    key("resource.a2a", "tenants", Texts("name"), Default("[]"), "Tenants that may be named. None, because the same token would do for each of them."),

    key("resource.tool", "name", Text("name of a tool"), Required, "Its name as the server has it; a `*` at the end stands for any rest."),
    key("resource.tool", "deny", Switch, Default("false"), "Deny it whatever a token says."),
    key("resource.tool", "scopes", Texts("scope"), Default("[]"), "Required beside those of the resource."),
    key("resource.tool", "evidence", Choice(&["ignore", "verify_if_present", "required"]), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.tool", "evidence_max_age", Duration(SECOND, 365 * DAY), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.tool", "evidence_reuse", Choice(&["record", "refuse"]), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.tool", "user_actions", Texts("name"), Without("those of the resource"), "Instead of those of the resource."),
    key("resource.tool", "accept_prompt_credential", Switch, Without("that of the resource"), "Instead of that of the resource."),
    key("resource.tool", "acr_values", Texts("acr"), Without("those of the resource"), "Instead of those of the resource."),
    key("resource.tool", "max_age", Duration(SECOND, 365 * DAY), Without("that of the resource"), "Instead of that of the resource."),

    key("resource.local_policy", "file", Text("path"), Required, "The policy: `….rego`; reloaded when it changes."),
    key("resource.local_policy", "entry_point", Text("name"), Default("allow"), "The rule that decides. The one that the drafts name."),
    key("resource.local_policy", "data", Text("path"), Without("nothing"), "A JSON file whose members a Rego policy finds as `data.MEMBER`; reloaded when it changes. Other policies, and those of tokens, do not see it."),

    key("resource.guidance", "enabled", Switch, Default("true"), "Whether anything is said. On, because an agent that knows what it lacks can ask for exactly that."),
    key("resource.guidance", "profile_uri", Text("URL"), Without("none"), "The profile that tokens follow."),
    key("resource.guidance", "legacy_rego_profile", Switch, Default("false"), "Say it in `rego_profile` too, as the drafts before `policy_profile` did; needs `profile_uri`. Off, because it takes as much room again."),
    key("resource.guidance", "required_claims", Texts("claim"), Default("[]"), "Claims that a token needs."),
    key("resource.guidance", "constraints", Json, Without("none"), "Name to description, as a table; sent as JSON."),

    key("resource.operation", "action", Text("name"), Without("the method in lower case"), "What the operation is called in grants and policies."),
    key("resource.operation", "method", OneOrMore("method"), Required, "One or several, upper case."),
    key("resource.operation", "path", Text("path glob"), Required, "Below the resource: `*` stays inside a segment, `**` crosses segments; `{name}` is a `*` that grants and policies know by its name."),
    key("resource.operation", "body", Choice(&["when_needed", "json", "stream"]), Default("when_needed"), "Whether the body is read before the decision: `json` always, and refuses what is not strict JSON; `stream` never, and then no rule can look at it; `when_needed` where a rule of the token may. When needed, because a body that nothing looks at need not wait."),
    key("resource.operation", "scopes", Texts("scope"), Default("[]"), "Required beside those of the resource."),
    key("resource.operation", "evidence", Choice(&["ignore", "verify_if_present", "required"]), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.operation", "evidence_max_age", Duration(SECOND, 365 * DAY), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.operation", "evidence_reuse", Choice(&["record", "refuse"]), Without("that of the resource"), "Instead of that of the resource."),
    key("resource.operation", "user_actions", Texts("name"), Without("those of the resource"), "Instead of those of the resource."),
    key("resource.operation", "accept_prompt_credential", Switch, Without("that of the resource"), "Instead of that of the resource."),
    key("resource.operation", "acr_values", Texts("acr"), Without("those of the resource"), "Instead of those of the resource."),
    key("resource.operation", "max_age", Duration(SECOND, 365 * DAY), Without("that of the resource"), "Instead of that of the resource."),

    key("resource.deny", "method", OneOrMore("method"), Without("every method"), "One or several. Every one, because a denial should be wide."),
    key("resource.deny", "path", Text("path glob"), Required, "As of an operation."),

    key("resource.confirm", "method", OneOrMore("method"), Without("every method"), "One or several."),
    key("resource.confirm", "path", Text("path glob"), Required, "As of an operation."),
    key("resource.confirm", "evidence_max_age", Duration(SECOND, 365 * DAY), Default("5m"), "How long ago the person may have confirmed; less where the operation says so. Five minutes, in which a person still knows what was asked."),

    key("resource.cap", "name", Text("name"), Required, "What records and the ledger know it by. Another name begins anew."),
    key("resource.cap", "per", Choices(&["agent", "client", "grant", "policy", "resource", "user"]), Required, "Who is counted apart; several are counted for each combination. `grant` is one token, `policy` each policy in it that allowed the call, by its text, `resource` counts all callers together. Names are those of their issuer. What a token does not name is counted with its like."),
    key("resource.cap", "actions", Texts("name"), Without("every operation"), "The operations that are counted. Every one, because what is left out is without limit."),
    key("resource.cap", "calls", Count(1, 1_000_000_000), Without("one of `calls`, `concurrent`, `sum`"), "The most calls in the window; with `per = [\"grant\"]` and no window, in the life of a token: 1 makes it good for one call."),
    key("resource.cap", "concurrent", Count(1, 1_000_000), Without("one of `calls`, `concurrent`, `sum`"), "The most calls that go on at one time, up to the end of the response."),
    key("resource.cap", "sum", Text("amount"), Without("one of `calls`, `concurrent`, `sum`"), "The most that the `argument` of all calls in the window adds up to, exact to 18 digits after the point. It does not refill: each amount counts for the whole window."),
    key("resource.cap", "argument", Text("JSON pointer"), Without("no `sum`"), "Where in the JSON body the number stands (RFC 6901). A call in which it is missing, no number or negative is refused."),
    key("resource.cap", "window", Duration(SECOND, 31 * DAY), Without("the life of the token, with `per = [\"grant\"]`"), "How long a call counts, to a thousandth longer; also across restarts, as far as the audit log was kept. In `batch` an unclean end may lose records: calls are then refused until the window has passed."),

    key("audit", "directory", Text("path"), Default("audit"), "Where the journal is written; made when it is not there."),
    key("audit", "name", Text("name"), Default("opgate"), "The log's name in its records. Give each gate its own."),
    key("audit", "durability", Choice(&["sync", "batch", "batched"]), Default("sync"), "`sync`: a call goes on when its record is on the disk; `batch`: when it is queued, but for the first use of evidence, which no crash may forget. Sync, because what is not recorded must not have happened. `batched` is `batch`."),
    key("audit", "interval", Duration(1, 100), Default("50ms"), "The longest that a record stays in memory with `batch`; at most 100ms. What a crash can lose."),
    key("audit", "max_wait", Duration(1, MINUTE), Default("250ms"), "How long a call waits for its record to be durable; then it is refused. A disk that takes longer is failing."),
    key("audit", "segment_bytes", Size(64 * KIB, 64 * GIB), Default("256MiB"), "Size at which a new segment begins. Searched in a second, few files in a year."),
    key("audit", "segment_age", Duration(SECOND, 366 * DAY), Default("24h"), "Age at which a new segment begins. Retention is by the day."),
    key("audit", "queue_records", Count(1, 10_000_000), Default("8192"), "Records that may wait for the disk; with so many, a call waits up to `max_wait` for room and is then refused. A quarter of a second at full load."),
    key("audit", "queue_bytes", Size(64 * KIB, 4 * GIB), Default("16MiB"), "Bytes that may wait for the disk. 2 KiB for each of the records."),
    key("audit", "tag_key", Table("audit.tag_key"), Without("made in the directory"), "The key of keyed hashes of personal values; exactly one of `file` and `env`. Share it between gates to recognize a subject across their logs."),
    key("audit", "signing_key", Text("path"), Without("made in the directory"), "The file of the key that signs what the log has come to: 32 bytes in hexadecimal, made if it is not there. Beside the log whoever can rewrite the log can sign it anew; on another volume they cannot."),
    key("audit", "hash_ids", Switch, Default("false"), "Write the ids of agents and clients as keyed hashes, as those of persons always are: in every record they can be recognized (`opgate audit tag`) and not read. Off, because an agent is not a person, and who reviews the log looks for it by name."),
    key("audit", "hash_only", Switch, Default("false"), "Of what a person was shown, and of what a delegation says it is for, write only the SHA-256. Off, because a reviewer should see what was confirmed without asking elsewhere."),
    key("audit.tag_key", "file", Text("path"), Without("`env`"), "A file; one trailing line end is not part of the key."),
    key("audit.tag_key", "env", Text("variable"), Without("`file`"), "An environment variable."),

    key("policies", "directory", Text("path"), Without("none"), "A directory of policies that tokens may name, asked before any server: `NAME.rego` and `NAME.cedar` by name and by digest, `NAME.json` as a registry's record; reloaded when one changes. Two of one name are a mistake."),
    key("policies", "pins", Text("path"), Without("`policy-pins` in the audit directory"), "The file that says which text each name without a digest was first seen with."),

    key("revocations", "file", Text("path"), Without("`revocations` in the audit directory"), "Where they are kept; made when it is not there. Beside the audit log, because both must outlive the process."),
];

/// The keys of one section.
pub fn section(name: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == name)
}

/// One key.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

impl Kind {
    /// What is expected, in words, for messages and the reference.
    pub fn expected(self) -> String {
        match self {
            Choice(words) => format!("one of {}", list(words)),
            Choices(words) => format!("an array of {}", list(words)),
            Count(min, max) if max == min + 2 => format!("{min} or {max}"),
            Count(min, max) => format!("a whole number from {min} to {max}"),
            Duration(..) => "a duration such as `250ms`, `30s`, `5m`, `24h` or `7d`".to_owned(),
            Json | Table(_) => "a table".to_owned(),
            OneOrMore(form) => format!("a string ({form}) or an array of them"),
            Size(..) => "a number of bytes such as 4096, `64KiB` or `1MiB`".to_owned(),
            Switch => "true or false".to_owned(),
            Tables(_) => "an array of tables".to_owned(),
            Text(form) => format!("a string ({form})"),
            Texts(form) => format!("an array of strings ({form})"),
        }
    }

    fn schema(self) -> Value {
        match self {
            Choice(words) => json!({ "enum": words }),
            Choices(words) => json!({ "type": "array", "items": { "enum": words } }),
            Count(min, max) if max == min + 2 => json!({ "enum": [min, max] }),
            Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Duration(..) => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
            Json => json!({ "type": "object" }),
            OneOrMore(_) => json!({ "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
            ] }),
            Size(min, max) => json!({ "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max },
                { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" },
            ] }),
            Switch => json!({ "type": "boolean" }),
            Table(name) => object(name),
            Tables(name) => json!({ "type": "array", "items": object(name) }),
            Text(_) => json!({ "type": "string", "minLength": 1 }),
            Texts(_) => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        }
    }
}

/// Words in backticks, with commas.
pub fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The schema of the file (JSON Schema 2020-12), for editors.
pub fn json_schema() -> Value {
    let mut schema = object("");
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".into(), "opgate configuration".into());
    }
    schema
}

fn object(name: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section(name) {
        let mut schema = key.kind.schema();
        if let Value::Object(members) = &mut schema {
            members.insert("description".into(), key.meaning.into());
            if let Default(text) = key.fallback {
                members.insert("default".into(), default_value(key.kind, text));
            }
            if matches!((key.kind, key.fallback), (Tables(_), Required)) {
                members.insert("minItems".into(), 1.into());
            }
        }
        if key.fallback == Required {
            required.push(key.name);
        }
        properties.insert(key.name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A default as a value of the schema: what is JSON as it stands, and strings.
fn default_value(kind: Kind, text: &str) -> Value {
    match kind {
        Count(..) | Switch | Texts(_) | Choices(_) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    }
}

/// The reference of the file, for people.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         One TOML file. A key that is not listed here is an error. Durations are strings with a unit: \
         `250ms`, `30s`, `5m`, `24h`, `7d`. Sizes are numbers of bytes or strings: `64KiB`, `1MiB`. \
         Relative paths are relative to the file. Secrets are named by reference, never written here.\n",
    );
    describe("", "The file", &mut text);
    text
}

/// Writes one section, then the sections in it, in the order of its keys.
fn describe(name: &str, title: &str, into: &mut String) {
    into.extend([
        "\n## ",
        title,
        "\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n",
    ]);
    for key in section(name) {
        let default = match key.fallback {
            Required => "required".to_owned(),
            Default(text) => format!("`{text}`"),
            Without(words) => words.to_owned(),
        };
        let cells = [key.name, "` | ", &key.kind.expected(), " | ", &default, " | ", key.meaning];
        into.extend(["| `"].into_iter().chain(cells).chain([" |\n"]));
    }
    for key in section(name) {
        match key.kind {
            Table(inner) => describe(inner, &format!("`[{inner}]`"), into),
            Tables(inner) => describe(inner, &format!("`[[{inner}]]`"), into),
            _ => {}
        }
    }
}
