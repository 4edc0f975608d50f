//! A call among the tasks of an agent: whose those are that it names, and what is learned from its answer
//! (R-MCP-020).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::rewrite::{self, Events, Rewrite};
use crate::decide::call::Call;
use crate::facts::sessions::Owner;
use crate::facts::tasks::{Named, Standing, Tasks};
use crate::model::exact::Json;
use crate::model::media;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::a2a::answer;
use crate::operation::a2a::asked::Asked;
use crate::operation::a2a::method::Subject;
use crate::runtime::clock;

/// The most that is held of one answer or event.
const MAX_HELD: usize = 4 << 20;

/// Whose call it is.
#[derive(Debug)]
pub struct Errand {
    owner: Owner,
    /// Whether nothing was known of a task that it names, so that it becomes the caller's.
    pub is_rebound: bool,
}

impl Errand {
    /// That of a call to an agent. Refuses a task that is another's, or that nobody has: both read alike to
    /// whoever guesses. Refuses another's context.
    pub fn of(
        call: &Call<'_>,
        owner: Owner,
        tasks: &Tasks,
        now: Timestamp,
    ) -> Result<Option<Self>, Denial> {
        let Some(agent) = &call.resource().a2a else { return Ok(None) };
        let resource = &call.resource().id;
        // A context may be named before anybody has begun it: only another's is refused.
        if let Some(context) = call.exchanged().and_then(Asked::context)
            && tasks.look(resource, Named::Context(context), owner, now) == Standing::Foreign
        {
            return Err(Denial::about(Reason::TaskUnknown, "context"));
        }
        let mut is_rebound = false;
        for task in call.exchanged().into_iter().flat_map(Asked::tasks) {
            match tasks.look(resource, Named::Task(task), owner, now) {
                Standing::Own => {}
                Standing::Unknown if agent.rebinds => is_rebound = true,
                Standing::Foreign | Standing::Unknown => {
                    return Err(Denial::about(Reason::TaskUnknown, "task"));
                }
            }
        }
        Ok(Some(Self { owner, is_rebound }))
    }

    /// Whoever hears the answer to what is let through. The tasks that it names are the caller's from here on.
    pub fn ear(self, call: &Call<'_>, tasks: &Arc<Tasks>, now: Timestamp) -> Option<Ear> {
        let asked = call.exchanged()?;
        let resource = &call.resource().id;
        let context = asked.context().map(Named::Context);
        for named in asked.tasks().map(Named::Task).chain(context) {
            tasks.bind(resource, named, self.owner, now);
        }
        let is_list = match asked.method.subject {
            Subject::Message => false,
            // Where refusals are only observed, nothing is hidden either.
            Subject::Tasks if !call.resource().observed => true,
            Subject::Card | Subject::Task(..) | Subject::Tasks => return None,
        };
        let (tasks, resource, in_rest) = (Arc::clone(tasks), resource.clone(), asked.id.is_none());
        Some(Ear { tasks, resource, owner: self.owner, in_rest, is_list })
    }
}

/// Whoever hears one answer of an agent.
#[derive(Debug)]
pub struct Ear {
    tasks: Arc<Tasks>,
    resource: Box<str>,
    owner: Owner,
    in_rest: bool,
    /// Whether it is a list of tasks.
    is_list: bool,
}

impl Ear {
    /// Hears the head of an answer. Gives who reads its body, where somebody must.
    pub fn hear(self, headers: &HeaderMap) -> Option<Box<dyn Rewrite>> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        // What cannot be read of a list is not passed on.
        if self.is_list || (is_plain && kind.is_some_and(media::is_json)) {
            return Some(Box::new(Whole { ear: self, held: Vec::new(), is_given_up: false }));
        }
        let is_read = is_plain && kind.is_some_and(media::is_event_stream);
        is_read.then(|| -> Box<dyn Rewrite> {
            Box::new(Streamed { ear: self, events: Events::default() })
        })
    }

    fn learn(&self, text: &[u8]) {
        let Ok(json) = Json::parse(text) else { return };
        let tasks = answer::begun(&json, self.in_rest).map(Named::Task);
        let contexts = answer::contexts(&json, self.in_rest).map(Named::Context);
        for named in tasks.chain(contexts) {
            self.tasks.bind(&self.resource, named, self.owner, clock::now());
        }
    }

    fn is_own(&self, task: &str) -> bool {
        let task = Named::Task(task);
        let standing = self.tasks.look(&self.resource, task, self.owner, clock::now());
        standing == Standing::Own
    }
}

/// An answer in one piece. It is held until it is whole, so that whoever has it can ask for its task.
struct Whole {
    ear: Ear,
    held: Vec<u8>,
    is_given_up: bool,
}

impl Rewrite for Whole {
    fn data(&mut self, data: Bytes) -> Bytes {
        if self.is_given_up {
            return if self.ear.is_list { Bytes::new() } else { data };
        }
        self.held.extend_from_slice(&data);
        if self.held.len() <= MAX_HELD {
            return Bytes::new();
        }
        self.is_given_up = true;
        let held = std::mem::take(&mut self.held);
        if self.ear.is_list { Bytes::new() } else { held.into() }
    }

    fn end(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if self.ear.is_list {
            let listed = answer::listed(&held, self.ear.in_rest, |task| self.ear.is_own(task));
            self.is_given_up = listed.is_none();
            return listed.unwrap_or_default().into();
        }
        self.ear.learn(&held);
        held.into()
    }

    fn is_failure(&self) -> bool {
        self.ear.is_list && self.is_given_up
    }
}

/// An answer in events, which pass as they come.
struct Streamed {
    ear: Ear,
    events: Events,
}

impl Rewrite for Streamed {
    fn data(&mut self, data: Bytes) -> Bytes {
        self.events.push(&data);
        while let Some(event) = self.events.pop() {
            if let Some(said) = rewrite::data(&event) {
                self.ear.learn(said.as_bytes());
            }
        }
        if self.events.pending() > MAX_HELD {
            self.events.give_up();
        }
        data
    }

    fn end(&mut self) -> Bytes {
        Bytes::new()
    }

    fn is_failure(&self) -> bool {
        false
    }
}
