//! What is asked of an agent: the same whichever version and binding it is asked in.

use std::collections::BTreeMap;

use super::method::{CREATE_PUSH, Method, Subject};
use super::push;
use super::rest::Route;
use super::said::{self, Said};
use super::version::Version;
use crate::model::exact::{EMPTY, Json};
use crate::model::operation;
use crate::model::reason::{Denial, Reason};
use crate::operation::jsonrpc::{Id, Kind, Message};

type Members = BTreeMap<Box<str>, Json>;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By which version it is meant.
    pub version: Version,
    /// The method.
    pub method: &'static Method,
    /// The `id` to answer under; none in the REST binding.
    pub id: Option<Id>,
    /// The tenant that is named.
    pub tenant: Option<Box<str>>,
    /// The task that it is about.
    pub task: Option<Box<str>>,
    /// The message that is sent.
    pub said: Option<Said>,
    /// Where the agent is told to send notifications.
    pub push_urls: Vec<Box<str>>,
    /// What path and query say beside the body, and the body with it.
    whole: Option<Json>,
    /// Where in that, or else in the body, the arguments stand.
    args: Box<str>,
}

const fn bad(about: &'static str) -> Denial {
    Denial::about(Reason::ArgumentsInvalid, about)
}

impl Asked {
    /// What a message of the JSON-RPC binding asks for. A method that is not in the table is refused.
    pub fn spoken(message: &Message<'_>, version: Version) -> Result<Self, Denial> {
        let (Some(name), Kind::Request(id)) = (message.method, &message.kind) else {
            return Err(Denial::about(Reason::MessageInvalid, "id"));
        };
        let unknown = Denial::about(Reason::OperationUnknown, "method");
        let method = Method::named(name, version).ok_or(unknown)?;
        let empty = Members::new();
        let params = message.params.unwrap_or(&empty);
        let asked = Self::read(method, version, params, "/params")?;
        Ok(Self { id: Some(id.clone()), ..asked })
    }

    /// What a request of the REST binding asks for.
    pub fn routed(
        method: &'static Method,
        version: Version,
        route: &Route<'_>,
        body: Option<&Json>,
        query: &[(&str, &str)],
    ) -> Result<Self, Denial> {
        if route.version.is_some_and(|own| own != version) {
            return Err(Denial::about(Reason::VersionUnsupported, "path"));
        }
        let body = body.unwrap_or(&EMPTY).as_object().ok_or(bad("body"))?;
        let params = route.params(method, version, body, query)?;
        let asked = Self::read(method, version, &params, "")?;
        let whole = (params != *body).then_some(Json::Object(params));
        Ok(Self { whole, ..asked })
    }

    /// `at` is where the parameters stand in the body: at its root in the REST binding.
    fn read(
        method: &'static Method,
        version: Version,
        params: &Members,
        at: &str,
    ) -> Result<Self, Denial> {
        said::spelled(params)?;
        let tenant = said::id(params, "tenant")?;
        let (mut task, mut said, mut push_urls) = (None, None, Vec::new());
        let mut args = Box::from(at);
        match method.subject {
            Subject::Message => {
                only_known(params)?;
                let message = params.get("message").ok_or(bad("message"))?;
                let message = Said::read(message, version, at.is_empty())?;
                if let Some(data) = &message.data {
                    args = format!("{at}/message{data}").into();
                }
                task.clone_from(&message.task);
                said = Some(message);
                configuration(params.get("configuration"), &mut push_urls)?;
            }
            Subject::Task(current, older) => {
                let name = if version == Version::V1_0 { current } else { older };
                task = Some(said::id(params, name)?.ok_or(bad(name))?);
                push::urls(params, &mut push_urls)?;
            }
            Subject::Card | Subject::Tasks => {}
        }
        if *method == CREATE_PUSH && push_urls.is_empty() {
            return Err(bad("url"));
        }
        let (id, whole) = (None, None);
        Ok(Self { version, method, id, tenant, task, said, push_urls, whole, args })
    }

    /// Whether a valid token is enough to ask.
    pub const fn is_open(&self) -> bool {
        matches!(self.method.subject, Subject::Card)
    }

    /// The arguments that grants and policies are held against: the data of a message that holds one part of
    /// data, and otherwise the parameters. `body` is what this was read from.
    pub fn args<'j>(&'j self, body: Option<&'j Json>) -> &'j Json {
        self.whole.as_ref().or(body).and_then(|whole| whole.at(&self.args)).unwrap_or(&EMPTY)
    }

    /// It, as policies are told of it.
    pub fn told(&self) -> operation::Exchange<'_> {
        let said = self.said.as_ref();
        operation::Exchange {
            version: self.version.name(),
            method: self.method.name_in(self.version),
            task_id: self.task.as_deref(),
            context_id: self.context(),
            message: said.map(|said| (said.role, &*said.part_kinds)),
        }
    }

    /// The context that it names.
    pub fn context(&self) -> Option<&str> {
        self.said.as_ref()?.context.as_deref()
    }

    /// Every task that it names.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        let references = self.said.iter().flat_map(|said| &said.references);
        self.task.iter().chain(references).map(|task| &**task)
    }
}

/// What stands beside a message that holds no data, or more than one part of it, is held against a grant that
/// bounds data: nothing there may pose as data that the agent never reads.
fn only_known(params: &Members) -> Result<(), Denial> {
    let is_known = |name: &str| ["configuration", "message", "metadata", "tenant"].contains(&name);
    if params.keys().all(|name| is_known(name)) { Ok(()) } else { Err(bad("params")) }
}

/// Where notifications of the task go that a message begins.
fn configuration(json: Option<&Json>, push_urls: &mut Vec<Box<str>>) -> Result<(), Denial> {
    match json {
        None | Some(Json::Null) => Ok(()),
        Some(Json::Object(members)) => {
            said::spelled(members)?;
            push::held(members, push_urls)
        }
        Some(_) => Err(bad("configuration")),
    }
}
