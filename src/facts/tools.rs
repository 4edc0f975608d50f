//! What MCP servers have said of their tools: the definition that each was first seen with, or that somebody
//! approved since, and the one it was seen with last.
//!
//! A person and an agent agree to a tool by what it says it does. A server that says something else later
//! has another tool under the same name. Kept across restarts in one append-only file, which
//! `opgate tools approve` appends to as well.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::model::hex::{hex, unhex};
use crate::operation::mcp::definition::{Definition, InputSchema, resembles};
use crate::runtime::file;
use crate::token::hash::sha256;

/// The file in the audit directory.
pub const FILE: &str = "tools";
/// The most tools that are remembered. Of further ones nothing is known.
const MOST: usize = 10_000;
/// The most that the file may hold. What comes then is remembered until the process ends.
const MOST_BYTES: u64 = 64 << 20;
/// The longest definition that is kept in words, and not by its digest alone.
const MOST_TEXT: usize = 64 << 10;

/// The most schemas that are kept compiled.
const MOST_SCHEMAS: usize = 1_000;

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
    held: Mutex<Held>,
    /// What tools take, by the SHA-256 of their definitions; bounded.
    schemas: Cache<[u8; 32], Arc<InputSchema>>,
}

#[derive(Debug, Default)]
struct Held {
    tools: BTreeMap<Key, Known>,
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
        let tools = Self { path: path.to_owned(), held: Mutex::default(), schemas };
        let mut held = tools.held();
        let Extent { lines, is_torn } = held.read(path)?;
        if is_torn || (lines > 1_000 && lines > 4 * held.tools.len()) {
            held.rewrite(path)?;
        }
        drop(held);
        Ok(tools)
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
        self.held().tools.clone()
    }

    /// What is known of a tool. Where it is not approved, what was approved meanwhile is read first.
    pub fn known(&self, resource: &str, tool: &str) -> Option<Known> {
        let key = (resource.into(), tool.into());
        let mut held = self.held();
        let known = held.tools.get(&key)?;
        if !known.is_approved() && held.is_behind(&self.path) {
            // What cannot be read changes nothing.
            held.read(&self.path).ok();
        }
        held.tools.get(&key).cloned()
    }

    /// What a tool takes by what its server says now; `None` where the server was not heard.
    pub fn schema(&self, resource: &str, tool: &str) -> Option<Arc<InputSchema>> {
        let seen = self.known(resource, tool)?.seen?;
        if let Some(schema) = self.schemas.get(&seen.sha256) {
            return Some(schema);
        }
        let schema = Arc::new(match seen.text {
            Some(text) => InputSchema::read(&Definition { name: tool.into(), text }),
            None => InputSchema::UNREADABLE,
        });
        self.schemas.insert(seen.sha256, Arc::clone(&schema));
        Some(schema)
    }

    /// Remembers what a server says of its tools now. Gives what is new, and the lines that [`Tools::keep`]
    /// writes.
    pub fn see(
        &self,
        resource: &str,
        definitions: &[Definition],
    ) -> (Vec<(Box<str>, News)>, Vec<u8>) {
        let (mut news, mut lines) = (Vec::new(), Vec::new());
        let mut held = self.held();
        for definition in definitions {
            if let Some((one, line)) = held.see(resource, definition) {
                news.extend(one.map(|one| (definition.name.clone(), one)));
                lines.extend_from_slice(&line);
            }
        }
        (news, lines)
    }

    /// Appends to the file. Blocks for the disk.
    pub fn keep(&self, lines: &[u8]) -> io::Result<()> {
        let mut held = self.held();
        if lines.is_empty() || held.is_only_asked {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        if file.metadata()?.len() > MOST_BYTES {
            return Err(io::Error::other("it has grown too large"));
        }
        file.write_all(lines)?;
        file.sync_data()?;
        let is_own = !held.is_behind_by(&self.path, u64::try_from(lines.len()).unwrap_or(u64::MAX));
        if is_own {
            held.length = file.metadata()?.len();
        }
        Ok(())
    }

    /// Approves the definition that a tool was seen with last, and keeps that. `false` where nothing is known
    /// of it.
    pub fn approve(&self, resource: &str, tool: &str) -> io::Result<bool> {
        let key = (Box::from(resource), Box::from(tool));
        let seen = self.held().tools.get(&key).and_then(|known| known.seen.clone());
        let Some(seen) = seen else { return Ok(false) };
        self.keep(&line(&key, &seen, true, None))?;
        let mut held = self.held();
        held.tools
            .insert(key, Known { approved: Some(seen.clone()), seen: Some(seen), resembles: None });
        Ok(true)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
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
            let Some(sha256) = unhex(&line.sha256) else { continue };
            let seen = Seen { sha256, text: line.definition };
            let known = self.tools.entry((line.resource, line.tool)).or_default();
            if line.approved {
                known.approved = Some(seen.clone());
            }
            known.resembles = line.resembles;
            // What was heard since is newer than what anybody has written.
            if is_first || known.seen.is_none() {
                known.seen = Some(seen);
            }
        }
        let is_torn = text.last().is_some_and(|last| *last != b'\n');
        Ok(Extent { lines: count, is_torn })
    }

    fn see(&mut self, resource: &str, definition: &Definition) -> Option<(Option<News>, Vec<u8>)> {
        let key: Key = (resource.into(), definition.name.clone());
        let text = (definition.text.len() <= MOST_TEXT).then(|| definition.text.clone());
        let seen = Seen { sha256: sha256(definition.text.as_bytes()), text };
        if let Some(known) = self.tools.get_mut(&key) {
            if known.seen.as_ref().is_some_and(|last| last.sha256 == seen.sha256) {
                return None;
            }
            known.seen = Some(seen.clone());
            let news = (!known.is_approved()).then_some(News::Changed);
            return Some((news, line(&key, &seen, news.is_none(), known.resembles.as_deref())));
        }
        if self.tools.len() >= MOST {
            return None;
        }
        let of_resource = self
            .tools
            .iter()
            .filter(|((own, _), known)| **own == *resource && known.approved.is_some());
        let mut like = of_resource.filter(|((_, name), _)| resembles(name, &definition.name));
        let like = like.next().map(|((_, name), _)| name.clone());
        let approved = like.is_none().then(|| seen.clone());
        let written = line(&key, &seen, approved.is_some(), like.as_deref());
        let news = if approved.is_some() { News::First } else { News::Resembling };
        self.tools.insert(key, Known { approved, seen: Some(seen), resembles: like });
        Some((Some(news), written))
    }

    /// Whether somebody else has written.
    fn is_behind(&self, path: &Path) -> bool {
        self.is_behind_by(path, 0)
    }

    fn is_behind_by(&self, path: &Path, own: u64) -> bool {
        let length = fs::metadata(path).map_or(0, |about| about.len());
        length != self.length.saturating_add(own)
    }

    /// Writes what is known anew, so that the file does not grow with every change there ever was.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        for (key, known) in &self.tools {
            for (seen, approved) in [(&known.approved, true), (&known.seen, false)] {
                if let Some(seen) = seen.as_ref().filter(|_| approved || !known.is_approved()) {
                    text.extend(line(key, seen, approved, known.resembles.as_deref()));
                }
            }
        }
        file::replace(path, &text)?;
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn line(key: &Key, seen: &Seen, approved: bool, resembles: Option<&str>) -> Vec<u8> {
    let (resource, tool) = key.clone();
    let line = Line {
        resource,
        tool,
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
        let (news, lines) = tools.see(SHOP, &said(name, text));
        tools.keep(&lines).unwrap();
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
        assert!(!again.known(SHOP, "a").unwrap().is_approved());
        // Another process approves; the first one feels it.
        assert!(again.approve(SHOP, "a").unwrap() && !again.approve(SHOP, "b").unwrap());
        assert!(tools.known(SHOP, "a").unwrap().is_approved());
        assert_eq!(news(&tools, "a", "1"), Some(News::Changed));
        assert_eq!(news(&tools, "a", "2"), None, "it is what was approved");
        assert!(tools.known(SHOP, "a").unwrap().is_approved());
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
        assert!(!tools.known(SHOP, "a").unwrap().is_approved());
    }

    #[test]
    fn a_torn_line_is_none_and_a_file_of_many_changes_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let tools = Tools::read(&path).unwrap();
        for n in 0..1_200 {
            let (_, lines) = tools.see(SHOP, &said("a", &n.to_string()));
            fs::write(&path, [fs::read(&path).unwrap_or_default(), lines].concat()).unwrap();
        }
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
