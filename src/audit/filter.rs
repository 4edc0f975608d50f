//! Which records somebody wants to see: one language for the command line and for whoever has pairs of name
//! and value, such as the query of a page.
//!
//! A value may begin or end with `*`, `!` before it denies it, and `\` before it takes it as it stands. Values
//! of one name are alternatives, and different names must all hold. A name that is about calls is asked of
//! records of calls alone, also where its value is denied.

mod mistake;
mod pattern;

pub use self::mistake::Mistake;
use self::pattern::Pattern;
use super::line;
use super::outline::Outline;
use super::tag::Tagger;
use crate::model::date;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;

/// What stands in a record as the reason of a call that was allowed.
const GRANTED: &str = "granted";
/// What can be decided.
const DECISIONS: &[&str] = &["allow", "deny", "would-deny"];
/// The types of records.
const TYPES: &[&str] =
    &["aggregate", "config", "decision", "gap", "outcome", "revocation", "start", "stop", "tool"];
/// With more alternatives, looking for each is dearer than reading the records.
const MOST_NEEDLES: usize = 8;
/// The beginning of a keyed hash.
const TAG: &str = "h1:";

/// What a filter can ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The action of the operation, or the tool that a message names.
    Action,
    /// The agent.
    Agent,
    /// The client.
    Client,
    /// What was decided.
    Decision,
    /// The person's confirmation, by its id.
    Evidence,
    /// The decision, or the revocation, by the beginning of its id.
    Id,
    /// A policy that was asked, by its name or the beginning of its SHA-256.
    Policy,
    /// Why it was decided so, or why the call failed.
    Reason,
    /// The resource.
    Resource,
    /// The session of messages.
    Session,
    /// Text anywhere in the record.
    Text,
    /// The token, by its `jti` or SHA-256.
    Token,
    /// The trace, by the beginning of its id.
    Trace,
    /// The type of the record.
    Type,
    /// The person.
    User,
}

impl Field {
    /// Every field, in the order of their names.
    pub const ALL: [Self; 15] = [
        Self::Action,
        Self::Agent,
        Self::Client,
        Self::Decision,
        Self::Evidence,
        Self::Id,
        Self::Policy,
        Self::Reason,
        Self::Resource,
        Self::Session,
        Self::Text,
        Self::Token,
        Self::Trace,
        Self::Type,
        Self::User,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Decision => "decision",
            Self::Evidence => "evidence",
            Self::Id => "id",
            Self::Policy => "policy",
            Self::Reason => "reason",
            Self::Resource => "resource",
            Self::Session => "session",
            Self::Text => "text",
            Self::Token => "token",
            Self::Trace => "trace",
            Self::Type => "type",
            Self::User => "user",
        }
    }

    /// The values there are, where they can be listed.
    fn known(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Decision => Some(DECISIONS.to_vec()),
            Self::Type => Some(TYPES.to_vec()),
            Self::Reason => {
                let reasons = Reason::ALL.iter().map(|reason| reason.code());
                Some(std::iter::once(GRANTED).chain(reasons).collect())
            }
            Self::Action
            | Self::Agent
            | Self::Client
            | Self::Evidence
            | Self::Id
            | Self::Policy
            | Self::Resource
            | Self::Session
            | Self::Text
            | Self::Token
            | Self::Trace
            | Self::User => None,
        }
    }

    /// The kind of revocation that is of such a thing.
    const fn revoked(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Client => "client_id",
            Self::Evidence => "evidence_id",
            Self::Policy => "policy_id",
            Self::Token => "jti",
            Self::User => "sub",
            Self::Action
            | Self::Decision
            | Self::Id
            | Self::Reason
            | Self::Resource
            | Self::Session
            | Self::Text
            | Self::Trace
            | Self::Type => "",
        }
    }

    /// Whether this can be asked about an outcome.
    const fn is_of_outcomes(self) -> bool {
        matches!(self, Self::Id | Self::Reason | Self::Text | Self::Type)
    }

    /// Whether `record` is one that this can be asked about.
    fn concerns(self, record: &Outline<'_>) -> bool {
        match self {
            Self::Id | Self::Text | Self::Type => true,
            Self::Reason => !record.reason.is_empty() || !record.error.is_empty(),
            _ => match &*record.kind {
                "decision" | "aggregate" => true,
                "revocation" => record.revoked.kind == self.revoked(),
                _ => false,
            },
        }
    }

    fn fits(self, pattern: &Pattern, record: &Outline<'_>, line: &str) -> bool {
        let any = |values: &[&str]| values.iter().any(|value| pattern.fits(value));
        let found = match self {
            Self::Action => any(&[&record.op.action, &record.op.name]),
            Self::Agent => any(&[&record.agent.id]),
            Self::Client => any(&[&record.client_id]),
            Self::Decision => any(&[record.verdict()]),
            Self::Evidence => any(&[&record.evidence.id, &record.delegation.root_evidence]),
            Self::Id => any(&[&record.id]),
            Self::Policy => {
                let policies = record.policies.iter();
                policies.fold(false, |found, one| {
                    found || pattern.fits(&one.id) || pattern.begins(&one.sha256)
                })
            }
            Self::Reason => any(&[&record.reason, &record.error]),
            Self::Resource => any(&[&record.resource]),
            Self::Session => any(&[&record.op.session]),
            Self::Text => pattern.stands_in(line),
            Self::Token => any(&[&record.jti, &record.token_sha256]),
            Self::Trace => any(&[&record.trace_id]),
            Self::Type => any(&[&record.kind]),
            Self::User => any(&[&record.user.tag]),
        };
        let revoked = &record.revoked;
        found
            || (!revoked.kind.is_empty()
                && revoked.kind == self.revoked()
                && any(&[&revoked.name, &revoked.tag]))
    }
}

/// What is asked about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: Field,
    wanted: Vec<Pattern>,
    unwanted: Vec<Pattern>,
}

impl Condition {
    fn holds(&self, record: &Outline<'_>, line: &str) -> bool {
        let fits = |pattern: &Pattern| self.field.fits(pattern, record, line);
        self.field.concerns(record)
            && (self.wanted.is_empty() || self.wanted.iter().any(fits))
            && !self.unwanted.iter().any(fits)
    }

    /// What a line that holds must have in it, one of them; and how rare that is.
    fn needles(&self) -> Option<(usize, Vec<Box<[u8]>>)> {
        if self.wanted.is_empty() || self.wanted.len() > MOST_NEEDLES {
            return None;
        }
        let needles: Vec<_> = self.wanted.iter().map(|one| self.needle(one)).collect();
        let shortest = needles.iter().map(|needle| needle.len()).min().unwrap_or(0);
        // However long the word, there are few, and each stands in many records.
        let is_common = matches!(self.field, Field::Decision | Field::Type);
        (shortest > 0).then_some((if is_common { 1 } else { shortest }, needles))
    }

    fn needle(&self, pattern: &Pattern) -> Box<[u8]> {
        let member = |member: &str| format!("\"{member}").into_bytes().into();
        match (self.field, pattern.text()) {
            (Field::Decision, "would-deny") => member(r#"mode":"observe""#),
            (Field::Decision, word) => member(&format!(r#"decision":"{word}""#)),
            (Field::Type, word) => member(&format!(r#"type":"{word}""#)),
            // As it stands in the line already.
            (Field::Text, text) => text.as_bytes().into(),
            // The beginning of a digest has no quote behind it.
            (Field::Policy, _) if pattern.is_whole() => pattern.clone().prefixed().needle(),
            _ => pattern.needle(),
        }
    }
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In the form of records, where the order of the texts is that of the times.
    since: Option<Box<str>>,
    until: Option<Box<str>>,
    conditions: Vec<Condition>,
}

/// What a filter is read with.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What `2h` is counted from.
    pub now: Timestamp,
    /// What makes the keyed hash of a person, where the key is at hand.
    pub tagger: Option<&'a Tagger>,
}

impl Filter {
    /// The filter that pairs of name and value ask for.
    pub fn parse<'p>(
        pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
        reading: Reading<'_>,
    ) -> Result<Self, Mistake> {
        let mut filter = Self::default();
        for (name, value) in pairs {
            match name {
                "since" => once(&mut filter.since, "since", value, reading.now)?,
                "until" => once(&mut filter.until, "until", value, reading.now)?,
                name => {
                    let field = Field::ALL.into_iter().find(|field| field.name() == name);
                    let field = field.ok_or_else(|| Mistake::Name(name.into()))?;
                    filter.add(field, value, reading.tagger)?;
                }
            }
        }
        if let (Some(since), Some(until)) = (&filter.since, &filter.until)
            && since >= until
        {
            return Err(Mistake::Empty { since: since.clone(), until: until.clone() });
        }
        Ok(filter)
    }

    fn add(&mut self, field: Field, value: &str, tagger: Option<&Tagger>) -> Result<(), Mistake> {
        let (value, is_denied) = match value.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (value, false),
        };
        let patterns = patterns(field, value, tagger)?;
        let known = self.conditions.iter().position(|condition| condition.field == field);
        let at = known.unwrap_or(self.conditions.len());
        if known.is_none() {
            let condition = Condition { field, wanted: Vec::new(), unwanted: Vec::new() };
            self.conditions.push(condition);
        }
        if let Some(condition) = self.conditions.get_mut(at) {
            let into = if is_denied { &mut condition.unwanted } else { &mut condition.wanted };
            into.extend(patterns);
        }
        Ok(())
    }

    /// Whether every record is wanted.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing is asked but about the time.
    pub const fn is_of_time_alone(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether an outcome can be wanted, which half of a log is made of.
    pub fn can_want_outcomes(&self) -> bool {
        self.conditions.iter().all(|condition| condition.field.is_of_outcomes())
    }

    /// The first moment that is wanted, in the form of records.
    pub fn since(&self) -> Option<&str> {
        self.since.as_deref()
    }

    /// The first moment after those that are wanted.
    pub fn until(&self) -> Option<&str> {
        self.until.as_deref()
    }

    /// Whether the time `ts` of a record is wanted.
    pub fn spans(&self, ts: &str) -> bool {
        self.since().is_none_or(|since| ts >= since) && self.until().is_none_or(|until| ts < until)
    }

    /// Whether the record in `line` is wanted.
    pub fn wants(&self, record: &Outline<'_>, line: &str) -> bool {
        self.spans(&record.ts)
            && self.conditions.iter().all(|condition| condition.holds(record, line))
    }

    /// What stands in the line of every record that is wanted, one of them; none where that is not known.
    /// The rarest, as far as that can be told from their lengths.
    pub fn needles(&self) -> Vec<Box<[u8]>> {
        let all = self.conditions.iter().filter_map(Condition::needles);
        all.max_by_key(|(rarity, _)| *rarity).map(|(_, needles)| needles).unwrap_or_default()
    }
}

fn once(
    into: &mut Option<Box<str>>,
    name: &'static str,
    value: &str,
    now: Timestamp,
) -> Result<(), Mistake> {
    let at = moment(value, now).ok_or_else(|| Mistake::Time { name, value: value.into() })?;
    match into.replace(at.to_string().into()) {
        None => Ok(()),
        Some(_) => Err(Mistake::Twice(name)),
    }
}

fn patterns(field: Field, value: &str, tagger: Option<&Tagger>) -> Result<Vec<Pattern>, Mistake> {
    let pattern = Pattern::parse(value);
    if value.is_empty() {
        return Err(Mistake::NoValue(field));
    }
    if let Some(known) = field.known() {
        let meant: Vec<_> = known.iter().filter(|word| pattern.fits(word)).collect();
        if meant.is_empty() {
            return Err(Mistake::Value { field, value: value.into(), known });
        }
        return Ok(meant.into_iter().map(|word| Pattern::exactly(word)).collect());
    }
    Ok(match field {
        Field::Id | Field::Trace => vec![pattern.prefixed()],
        Field::Text => vec![pattern.anywhere()],
        Field::Session | Field::User if pattern.is_any() || value.starts_with(TAG) => vec![pattern],
        Field::Session | Field::User if !pattern.is_whole() => return Err(Mistake::Part(field)),
        Field::Session | Field::User => {
            let tagger = tagger.ok_or(Mistake::NoTagKey(field))?;
            vec![Pattern::exactly(tagger.tag(pattern.text().as_bytes()).as_str())]
        }
        // Where ids are hashed (`audit.hash_ids`), they stand as these are.
        Field::Agent | Field::Client if pattern.is_whole() => {
            let hashed = tagger.map(|tagger| tagger.tag(pattern.text().as_bytes()));
            let hashed = hashed.map(|tag| Pattern::exactly(tag.as_str()));
            std::iter::once(pattern).chain(hashed).collect()
        }
        _ => vec![pattern],
    })
}

/// A moment: `2026-11-24T08:00:00Z`, the beginning of the day `2026-11-24` in UTC, or so long before `now` as
/// `90s`, `30m`, `2h`, `7d` or `2w` say.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(moment) = date::rfc3339(text) {
        return Some(moment);
    }
    if text.len() == 10 {
        return date::rfc3339(&format!("{text}T00:00:00Z"));
    }
    let unit = text.chars().next_back()?;
    let count = text.strip_suffix(unit)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = if is_number { count.parse().ok()? } else { return None };
    Some(now.before(std::time::Duration::from_secs(count.checked_mul(seconds)?)))
}

/// `text` as it stands within a string of a line.
fn written(text: &str) -> Vec<u8> {
    let mut quoted = Vec::new();
    line::string(&mut quoted, text);
    quoted.pop();
    quoted.split_off(1.min(quoted.len()))
}

#[cfg(test)]
mod tests;
