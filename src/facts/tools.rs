//! What MCP servers have said of their tools: the definition that each was first seen with, or that somebody
//! approved since, and the one it was seen with last.
//!
//! A person and an agent agree to a tool by what it says it does. A server that says something else later
//! has another tool under the same name. Kept across restarts in one append-only file, which
//! `opgate tools approve` appends to as well.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::model::hex::{hex, unhex};
use crate::operation::mcp::definition::{Definition, InputSchema, skeleton};
use crate::runtime::file;
use crate::token::hash::sha256;

/// The file in the audit directory.
pub const FILE: &str = "tools";
/// The most tools of one resource that are remembered. Of further ones nothing is known, and none of them is
/// approved.
const MOST: usize = 10_000;
/// The most that the file may hold. What comes then is remembered until the process ends.
const MOST_BYTES: u64 = 64 << 20;
/// The longest definition that is kept in words, and not by its digest alone.
const MOST_TEXT: usize = 64 << 10;

/// The most schemas that are kept compiled.
const MOST_SCHEMAS: usize = 200;

/// A tool: the identifier of its resource, and its name.
type Key = (Box<str>, Box<str>);

/// What is known of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What it was first seen with, or was approved since.
    pub approved: Option<Seen>,
    /// What it was seen with last.
    pub seen: Option<Seen>,
    /// A tool that was there before and that its name could be taken for.
    pub resembles: Option<Box<str>>,
}

/// A definition that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// It, as JSON, where it is not too long.
    pub text: Option<Box<str>>,
}

/// What is new about a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was never seen before, and is approved by that.
    First,
    /// It is not what was approved.
    Changed,
    /// It was never seen before, and its name could be taken for that of another.
    Resembling,
}

impl News {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Changed => "changed",
            Self::Resembling => "resembling",
        }
    }
}

impl Known {
    /// Whether it may be called where changes are refused.
    pub fn is_approved(&self) -> bool {
        match (&self.approved, &self.seen) {
            (Some(approved), Some(seen)) => approved.sha256 == seen.sha256,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    resource: Box<str>,
    tool: Box<str>,
    sha256: Box<str>,
    /// Whether it is approved with this definition, or only was seen with it.
    approved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resembles: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<Box<str>>,
}

/// The tools of all servers.
#[derive(Debug)]
pub struct Tools {
    path: PathBuf,
    /// Held for a look and a change at a time, and never while the disk works.
    held: Mutex<Held>,
    /// Held while the file is written, so that its lines stand in the order of what was said.
    writing: Mutex<()>,
    /// What tools take, by the SHA-256 of their definitions; bounded.
    schemas: Cache<[u8; 32], Arc<InputSchema>>,
}

/// The tools of one resource.
#[derive(Debug, Default)]
struct Named {
    /// By their names.
    tools: BTreeMap<Box<str>, Known>,
    /// Those that are approved, by what their names look like.
    alike: HashMap<Box<str>, Box<str>>,
}

#[derive(Debug, Default)]
struct Held {
    /// By the identifiers of their resources.
    tools: BTreeMap<Box<str>, Named>,
    count: usize,
    /// What is still to be written.
    pending: Vec<u8>,
    /// How long the file was when it was read or written last.
    length: u64,
    /// Nothing is kept: whoever only asks leaves no trace.
    is_only_asked: bool,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    lines: usize,
    /// Whether its last line has no end, so that the next would be part of it.
    is_torn: bool,
}

impl Tools {
    /// Those of the file at `path`; none where there is no such file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let schemas = Cache::new(MOST_SCHEMAS);
        let mut held = Held::default();
        let Extent { lines, is_torn } = held.read(path)?;
        if is_torn || (lines > 1_000 && lines > 4 * held.count) {
            held.rewrite(path)?;
        }
        let (held, writing) = (Mutex::new(held), Mutex::default());
        Ok(Self { path: path.to_owned(), held, writing, schemas })
    }

    /// Keeps nothing from here on.
    pub fn only_ask(&self) {
        self.held().is_only_asked = true;
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tool, by resource and name.
    pub fn all(&self) -> BTreeMap<Key, Known> {
        let held = self.held();
        let mut all = BTreeMap::new();
        for (resource, named) in &held.tools {
            let of = named
                .tools
                .iter()
                .map(|(name, known)| ((resource.clone(), name.clone()), known.clone()));
            all.extend(of);
        }
        all
    }

    /// What is known of a tool.
    pub fn known(&self, resource: &str, tool: &str) -> Option<Known> {
        self.held().find(resource, tool).cloned()
    }

    /// Whether a tool is approved with what its server says of it now; `None` where nothing is known of it.
    /// Where it is not, what was approved meanwhile is read first.
    pub fn is_approved(&self, resource: &str, tool: &str) -> Option<bool> {
        let mut held = self.held();
        let Some(known) = held.find(resource, tool) else {
            let is_full = held.tools.get(resource).is_some_and(|named| named.tools.len() >= MOST);
            return is_full.then_some(false);
        };
        if !known.is_approved() && held.is_behind(&self.path) {
            // What cannot be read changes nothing.
            held.read(&self.path).ok();
        }
        held.find(resource, tool).map(Known::is_approved)
    }

    /// What a tool takes by what its server says now; `None` where the server was not heard.
    pub fn schema(&self, resource: &str, tool: &str) -> Option<Arc<InputSchema>> {
        let held = self.held();
        let seen = held.find(resource, tool)?.seen.as_ref()?;
        if let Some(schema) = self.schemas.get(&seen.sha256) {
            return Some(schema);
        }
        let seen = seen.clone();
        drop(held);
        let schema = Arc::new(match seen.text {
            Some(text) => InputSchema::read(&Definition { name: tool.into(), text }),
            None => InputSchema::UNREADABLE,
        });
        self.schemas.insert(seen.sha256, Arc::clone(&schema));
        Some(schema)
    }

    /// Remembers what a server says of its tools now. Gives what is new; where anything is, [`Tools::keep`]
    /// has to write it.
    pub fn see(&self, resource: &str, definitions: &[Definition]) -> (Vec<(Box<str>, News)>, bool) {
        let mut news = Vec::new();
        let mut held = self.held();
        for definition in definitions {
            let one = held.see(resource, definition);
            news.extend(one.map(|one| (definition.name.clone(), one)));
        }
        (news, !held.pending.is_empty())
    }

    /// Writes what is still to be written. Blocks for the disk.
    pub fn keep(&self) -> io::Result<()> {
        let _in_order = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held();
        let lines = std::mem::take(&mut held.pending);
        let (before, is_only_asked) = (held.length, held.is_only_asked);
        drop(held);
        if lines.is_empty() || is_only_asked {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        if file.metadata()?.len() > MOST_BYTES {
            return Err(io::Error::other("it has grown too large"));
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        let (own, now) = (u64::try_from(lines.len()).unwrap_or(u64::MAX), file.metadata()?.len());
        // Where somebody else has written as well, the file is read again when that can matter.
        if now == before.saturating_add(own) {
            self.held().length = now;
        }
        Ok(())
    }

    /// Approves the definition that a tool was seen with last, and keeps that. `false` where nothing is known
    /// of it.
    pub fn approve(&self, resource: &str, tool: &str) -> io::Result<bool> {
        let mut held = self.held();
        let Some(known) = held.find_mut(resource, tool) else { return Ok(false) };
        let Some(seen) = known.seen.clone() else { return Ok(false) };
        *known = Known { approved: Some(seen.clone()), seen: Some(seen.clone()), resembles: None };
        held.pending.extend(line(resource, tool, &seen, true, None));
        drop(held);
        self.keep().map(|()| true)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn find(&self, resource: &str, tool: &str) -> Option<&Known> {
        self.tools.get(resource)?.tools.get(tool)
    }

    fn find_mut(&mut self, resource: &str, tool: &str) -> Option<&mut Known> {
        self.tools.get_mut(resource)?.tools.get_mut(tool)
    }

    fn insert(&mut self, resource: &str, tool: &str, known: Known) {
        let named = self.tools.entry(resource.into()).or_default();
        if let Some(alike) = skeleton(tool).filter(|_| known.approved.is_some()) {
            named.alike.entry(alike).or_insert_with(|| tool.into());
        }
        if named.tools.insert(tool.into(), known).is_none() {
            self.count += 1;
        }
    }

    /// Reads the whole file. A line that is none was not written to its end.
    fn read(&mut self, path: &Path) -> io::Result<Extent> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Extent::default()),
            read => read?,
        };
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let is_first = self.tools.is_empty();
        let mut count = 0;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            count += 1;
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            self.take(line, is_first);
        }
        let is_torn = text.last().is_some_and(|last| *last != b'\n');
        Ok(Extent { lines: count, is_torn })
    }

    fn take(&mut self, line: Line, is_first: bool) {
        let Some(sha256) = unhex(&line.sha256) else { return };
        let seen = Seen { sha256, text: line.definition };
        let mut known = self.find(&line.resource, &line.tool).cloned().unwrap_or_default();
        if line.approved {
            known.approved = Some(seen.clone());
        }
        known.resembles = line.resembles;
        // What was heard since is newer than what anybody has written.
        if is_first || known.seen.is_none() {
            known.seen = Some(seen);
        }
        self.insert(&line.resource, &line.tool, known);
    }

    fn see(&mut self, resource: &str, definition: &Definition) -> Option<News> {
        let name = &*definition.name;
        let text = (definition.text.len() <= MOST_TEXT).then(|| definition.text.clone());
        let seen = Seen { sha256: sha256(definition.text.as_bytes()), text };
        if let Some(known) = self.find_mut(resource, name) {
            if known.seen.as_ref().is_some_and(|last| last.sha256 == seen.sha256) {
                return None;
            }
            known.seen = Some(seen.clone());
            let news = (!known.is_approved()).then_some(News::Changed);
            let resembles = known.resembles.clone();
            let written = line(resource, name, &seen, news.is_none(), resembles.as_deref());
            self.pending.extend(written);
            return news;
        }
        let named = self.tools.get(resource);
        if named.is_some_and(|named| named.tools.len() >= MOST) {
            return None;
        }
        let like = match skeleton(name) {
            Some(alike) => named.and_then(|named| named.alike.get(&alike)).cloned(),
            None => Some(name.into()),
        };
        let approved = like.is_none().then(|| seen.clone());
        let news = if approved.is_some() { News::First } else { News::Resembling };
        self.pending.extend(line(resource, name, &seen, approved.is_some(), like.as_deref()));
        self.insert(resource, name, Known { approved, seen: Some(seen), resembles: like });
        Some(news)
    }

    /// Whether somebody else has written.
    fn is_behind(&self, path: &Path) -> bool {
        fs::metadata(path).map_or(0, |about| about.len()) != self.length
    }

    /// Writes what is known anew, so that the file does not grow with every change there ever was.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        let all = self.tools.iter().flat_map(|(resource, named)| {
            named.tools.iter().map(move |(name, known)| (&**resource, &**name, known))
        });
        for (resource, name, known) in all {
            for (seen, approved) in [(&known.approved, true), (&known.seen, false)] {
                if let Some(seen) = seen.as_ref().filter(|_| approved || !known.is_approved()) {
                    let resembles = known.resembles.as_deref();
                    text.extend(line(resource, name, seen, approved, resembles));
                }
            }
        }
        file::replace(path, &text)?;
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn line(
    resource: &str,
    tool: &str,
    seen: &Seen,
    approved: bool,
    resembles: Option<&str>,
) -> Vec<u8> {
    let line = Line {
        resource: resource.into(),
        tool: tool.into(),
        sha256: hex(&seen.sha256).into(),
        approved,
        resembles: resembles.map(Into::into),
        definition: seen.text.clone(),
    };
    // Nothing in it can fail to become JSON.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "https://tools.test/shop";

    fn said(name: &str, text: &str) -> Vec<Definition> {
        vec![Definition { name: name.into(), text: text.into() }]
    }

    fn news(tools: &Tools, name: &str, text: &str) -> Option<News> {
        let (news, _) = tools.see(SHOP, &said(name, text));
        tools.keep().unwrap();
        news.first().map(|(_, news)| *news)
    }

    #[test]
    fn what_was_approved_outlives_the_process_and_what_was_said_since_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let tools = Tools::read(&path).unwrap();
        assert_eq!(news(&tools, "a", "1"), Some(News::First));
        assert_eq!(news(&tools, "a", "1"), None);
        assert_eq!(news(&tools, "a", "2"), Some(News::Changed));
        let again = Tools::read(&path).unwrap();
        assert_eq!(again.all(), tools.all());
        assert_eq!(again.is_approved(SHOP, "a"), Some(false));
        // Another process approves; the first one feels it.
        assert!(again.approve(SHOP, "a").unwrap() && !again.approve(SHOP, "b").unwrap());
        assert_eq!(tools.is_approved(SHOP, "a"), Some(true));
        assert_eq!(news(&tools, "a", "1"), Some(News::Changed));
        assert_eq!(news(&tools, "a", "2"), None, "it is what was approved");
        assert_eq!(tools.is_approved(SHOP, "a"), Some(true));
    }

    #[test]
    fn an_approval_of_what_was_said_before_does_not_approve_what_is_said_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let tools = Tools::read(&path).unwrap();
        news(&tools, "a", "1");
        news(&tools, "a", "2");
        let other = Tools::read(&path).unwrap();
        // The server goes on, and the disk does not take it.
        tools.see(SHOP, &said("a", "3"));
        other.approve(SHOP, "a").unwrap();
        assert_eq!(tools.is_approved(SHOP, "a"), Some(false));
    }

    #[test]
    fn a_torn_line_is_none_and_a_file_of_many_changes_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let tools = Tools::read(&path).unwrap();
        for n in 0..1_200 {
            tools.see(SHOP, &said("a", &n.to_string()));
            if n % 10 == 0 {
                tools.keep().unwrap();
            }
        }
        tools.keep().unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"resource\":"].concat()).unwrap();
        let again = Tools::read(&path).unwrap();
        assert_eq!(again.all(), tools.all());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"resource\":"].concat()).unwrap();
        let again = Tools::read(&path).unwrap();
        assert_eq!(news(&again, "b", "1"), Some(News::First));
        assert!(Tools::read(&path).unwrap().known(SHOP, "b").is_some(), "nothing was torn with it");
        news(&tools, "b", "1");
        assert!(fs::read(&path).unwrap().len() < 1_000);
        assert_eq!(Tools::read(&path).unwrap().all(), tools.all());
    }
}
