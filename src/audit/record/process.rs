//! The records of everything but a decision: how calls end, and what happens to the process.

use std::time::Duration;

use super::{Body, Effect, Kept, micros};
use crate::audit::line::Members;
use crate::audit::tag::Tag;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;

/// How a forwarded call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller went away.
    ClientAborted,
    /// The upstream answered with a failure, or broke off.
    Failure,
    /// The gate ended before the call did.
    Interrupted,
    /// The upstream answered.
    Success,
    /// The upstream did not answer in time.
    Timeout,
    /// The upstream could not be reached.
    Unreachable,
}

impl Ending {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientAborted => "client_aborted",
            Self::Failure => "failure",
            Self::Interrupted => "interrupted",
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The outcome of a call that was let through: exactly one for each.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The `seq` of its decision.
    pub of: u64,
    /// The decision's id.
    pub id: &'a str,
    /// How it ended.
    pub ending: Ending,
    /// The status that the upstream sent.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the decision to the end, when known.
    pub duration: Option<Duration>,
    /// From the decision to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// Why it failed.
    pub error: Option<Reason>,
    /// Whether what it was charged was given back.
    pub refunded: bool,
}

impl<'a> Outcome<'a> {
    /// An outcome of which nothing is known but that the call ended.
    pub const fn bare(of: u64, id: &'a str, ending: Ending, error: Option<Reason>) -> Self {
        Self {
            of,
            id,
            ending,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: None,
            first_byte: None,
            error,
            refunded: false,
        }
    }
}

impl Body for Outcome<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "outcome");
        to.number("of", self.of);
        to.text("id", self.id);
        to.word("result", self.ending.word());
        if let Some(error) = self.error {
            to.word("error", error.code());
        }
        if self.refunded {
            to.switch("refunded", true);
        }
        if let Some(status) = self.status {
            to.object("http", |to| to.number("status", status.into()));
        }
        if let Some(duration) = self.duration {
            to.number("bytes_in", self.bytes_in);
            to.number("bytes_out", self.bytes_out);
            to.number("us", micros(duration));
        }
        if let Some(first_byte) = self.first_byte {
            to.number("first_byte_us", micros(first_byte));
        }
    }

    fn effect(&self) -> Effect<'_> {
        Effect::Closes
    }
}

/// Refusals of callers without a valid token that were counted instead of written one by one.
#[derive(Clone, Copy, Debug)]
pub struct Aggregate<'a> {
    /// Why they were refused.
    pub reason: Reason,
    /// The address, the IPv6 network, `token sha256:…`, or `other`.
    pub source: &'a str,
    /// How many.
    pub count: u64,
    /// The first.
    pub start: Timestamp,
    /// The last.
    pub end: Timestamp,
}

impl Body for Aggregate<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "aggregate");
        to.word("decision", "deny");
        to.word("reason", self.reason.code());
        to.text("source", self.source);
        to.number("count", self.count);
        to.text("start", &self.start.to_string());
        to.text("end", &self.end.to_string());
    }
}

/// Records that are missing, or may be.
#[derive(Clone, Copy, Debug)]
pub struct Gap<'a> {
    /// How many at most; `None` when that is not known.
    pub at_most: Option<u64>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Why: `queue_full`, `unclean_end`, `damaged`.
    pub why: &'a str,
    /// Where a damaged log was set aside, below the audit directory.
    pub set_aside: Option<&'a str>,
}

impl Body for Gap<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "gap");
        if let Some(at_most) = self.at_most {
            to.number("at_most", at_most);
        }
        to.text("from", &self.from.to_string());
        to.text("to", &self.to.to_string());
        to.text("why", self.why);
        to.optional("set_aside", self.set_aside);
    }
}

/// The beginning of a process epoch.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The digest of the configuration.
    pub config: &'a str,
    /// How decisions are kept.
    pub kept: Kept,
    /// How bytes are made durable: `fdatasync`.
    pub sync: &'a str,
    /// How the epoch before ended; `None` when there was none.
    pub previous_clean: Option<bool>,
    /// Torn lines that were cut off.
    pub lines_cut: u64,
    /// Bytes of them.
    pub bytes_cut: u64,
    /// Calls of the epoch before that had no outcome and get one now.
    pub interrupted: u64,
}

impl Body for Start<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "start");
        to.text("version", self.version);
        to.object("config", |to| to.text("sha256", self.config));
        to.word("durability", self.kept.word());
        to.text("sync", self.sync);
        if let Some(clean) = self.previous_clean {
            to.word("previous", if clean { "clean" } else { "unclean" });
            to.object("recovered", |to| {
                to.number("lines_cut", self.lines_cut);
                to.number("bytes_cut", self.bytes_cut);
                to.number("interrupted", self.interrupted);
            });
        }
    }
}

/// The clean end of a process epoch.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// Calls without an outcome, which the next epoch will close.
    pub open: u64,
}

impl Body for Stop {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "stop");
        to.number("open", self.open);
    }
}

/// A new configuration took effect.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The digest of the one before.
    pub old: &'a str,
    /// The digest of the new one.
    pub new: &'a str,
}

impl Body for Config<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "config");
        to.object("old", |to| to.text("sha256", self.old));
        to.object("new", |to| to.text("sha256", self.new));
    }
}

/// Something was revoked at this gate, or a revocation was lifted.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'a> {
    /// The id of the revocation.
    pub id: &'a str,
    /// What was done.
    pub change: Change,
    /// The kind of thing that is revoked.
    pub kind: &'static str,
    /// Its name; that of a person as a keyed hash.
    pub name: Revoked<'a>,
    /// The issuer whose tokens are meant.
    pub issuer: Option<&'a str>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why, in the words of who made it.
    pub reason: Option<&'a str>,
    /// How it came: `admin`, `push`.
    pub by: &'static str,
}

/// What was done to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was lifted.
    Lifted,
    /// It was made.
    Made,
}

/// The name of what is revoked.
#[derive(Clone, Copy, Debug)]
pub enum Revoked<'a> {
    /// A name that says nothing of a person.
    Plain(&'a str),
    /// That of a person.
    Tagged(&'a Tag),
}

impl Body for Revocation<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "revocation");
        to.text("id", self.id);
        to.word(
            "change",
            match self.change {
                Change::Lifted => "lift",
                Change::Made => "revoke",
            },
        );
        to.object("revoked", |to| {
            to.word("kind", self.kind);
            match self.name {
                Revoked::Plain(name) => to.text("name", name),
                Revoked::Tagged(tag) => to.text("tag", tag.as_str()),
            }
            to.optional("iss", self.issuer);
        });
        if let Some(until) = self.until {
            to.number("until", until.seconds());
        }
        to.optional("why", self.reason);
        to.word("by", self.by);
    }
}

/// An MCP server has said something new of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool<'a> {
    /// The identifier of the resource.
    pub resource: &'a str,
    /// The name of the tool.
    pub name: &'a str,
    /// What is new: `first`, `changed`, `resembling`; `unreadable` where that cannot be told of any tool.
    pub news: &'static str,
    /// The SHA-256 of its definition.
    pub sha256: Option<&'a [u8; 32]>,
    /// The SHA-256 of the definition that is approved.
    pub approved: Option<&'a [u8; 32]>,
    /// The tool that its name could be taken for.
    pub resembles: Option<&'a str>,
}

impl Body for Tool<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "tool");
        to.word("change", self.news);
        to.text("resource", self.resource);
        to.text("tool", self.name);
        if let Some(sha256) = self.sha256 {
            to.hex("definition_sha256", sha256);
        }
        if let Some(approved) = self.approved {
            to.hex("approved_sha256", approved);
        }
        to.optional("resembles", self.resembles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::text;

    #[test]
    fn the_other_records_are_json_objects_that_name_their_type() {
        let now = Timestamp::from_seconds(1);
        let outcome = Outcome {
            status: Some(201),
            bytes_out: 7,
            duration: Some(Duration::from_millis(1)),
            ..Outcome::bare(7, "x", Ending::Success, None)
        };
        let start = Start {
            version: "0.1.0",
            config: "ab",
            kept: Kept::Sync,
            sync: "fdatasync",
            previous_clean: Some(false),
            lines_cut: 1,
            bytes_cut: 9,
            interrupted: 2,
        };
        let reason = Reason::TokenAbsent;
        let revocation = Revocation {
            id: "x",
            change: Change::Made,
            kind: "jti",
            name: Revoked::Plain("y"),
            issuer: Some("https://as.test"),
            until: Some(now),
            reason: Some("lost"),
            by: "admin",
        };
        let gap = Gap { at_most: Some(3), from: now, to: now, why: "queue_full", set_aside: None };
        for (kind, line) in [
            ("outcome", text(&outcome)),
            ("start", text(&start)),
            ("stop", text(&Stop { open: 0 })),
            ("config", text(&Config { old: "a", new: "b" })),
            ("gap", text(&gap)),
            ("revocation", text(&revocation)),
            (
                "aggregate",
                text(&Aggregate { reason, source: "10.0.0.1", count: 9, start: now, end: now }),
            ),
        ] {
            let value: serde_json::Value = serde_json::from_str(&format!("{{{line}}}")).unwrap();
            assert_eq!(value["type"], kind);
        }
        assert_eq!(
            text(&outcome),
            r#""type":"outcome","of":7,"id":"x","result":"success","http":{"status":201},"bytes_in":0,"bytes_out":7,"us":1000"#
        );
    }
}
