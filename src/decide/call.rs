//! The call: one request, received and routed, before anything of its token is believed.

use http::Method;
use http::header::{self, HeaderValue};
use http::request::Parts;

use super::world::{Resource, World};
use crate::model::body::Body;
use crate::model::confirmation::Demand;
use crate::model::media;
use crate::model::operation::Operation;
use crate::model::operation::{Spoken, Told};
use crate::model::reason::{Denial, Reason};
use crate::operation::a2a;
use crate::operation::catalog::{Entry, Identified};
use crate::operation::head::{Head, Transport, Upgrade};
use crate::operation::mcp::asked::Asked;

/// What a refusal is about where two operations of a document claim a path.
pub const DISPUTED: &str = "disputed";

/// A request for one resource, whose path can be read in one way only. Made by [`receive`] alone.
#[derive(Debug)]
pub struct Call<'a> {
    head: Head<'a>,
    resource: &'a Resource,
    index: usize,
    /// The path below the resource as sent, which is what is forwarded.
    raw_path: &'a str,
    /// Where the decoded path below the resource begins in the decoded path.
    mount_length: usize,
    identified: Identified<'a>,
    /// What is demanded of the person's confirmation, where the operator demands more than the operation.
    confirmation: Option<Demand>,
    /// What it asks for in the words of its protocol, once that was read.
    said: Option<Said>,
}

/// What is asked for in a protocol of its own.
#[derive(Debug)]
enum Said {
    A2a(a2a::asked::Asked),
    Mcp(Asked),
}

/// Reads a request head and finds the resource it is for (`verification.md` steps 2 to 5).
pub fn receive<'a>(
    parts: &'a Parts,
    transport: Transport<'_>,
    world: &'a World,
) -> Result<Call<'a>, Denial> {
    let head = Head::read(parts, transport)?;
    if !world.knows_method(head.method) {
        return Err(Reason::MethodUnknown.into());
    }
    let host = world.routes.host(head.authority);
    let host = host.ok_or(Denial::about(Reason::AuthorityUnknown, "host"))?;
    let (index, mount) = host.find(head.path.decoded()).ok_or(Reason::NoRoute)?;
    let resource = world.resources.get(index).ok_or(Reason::NoRoute)?;
    let (raw_path, path) = head.path.below(mount).ok_or(Reason::PathAmbiguous)?;
    if head.path.has_parameters() && !resource.path_parameters {
        return Err(Denial::about(Reason::PathAmbiguous, ";"));
    }
    if head.overrides && resource.strict_override {
        return Err(Reason::MethodOverride.into());
    }
    // A query is forwarded as it is, so that this cannot be removed as a header is.
    if head.query_overrides {
        return Err(Denial::about(Reason::MethodOverride, "query"));
    }
    check_upgrade(head.upgrade, resource)?;
    check_origin(parts.headers.get(header::ORIGIN), resource)?;
    check_binding(parts.headers.get(header::CONTENT_TYPE), resource)?;
    let identified = resource.catalog.identify(head.method, path);
    let confirmation = match &identified {
        Identified::Operation(entry) => confirmation(entry, resource, head.method, path),
        Identified::Disputed | Identified::OtherMethods(_) | Identified::Unknown => None,
    };
    let mount_length = mount.len();
    let said = None;
    Ok(Call { head, resource, index, raw_path, mount_length, identified, confirmation, said })
}

/// R-MCP-017: a page in a browser may call from where the operator says; whoever is no page has no origin.
fn check_origin(origin: Option<&HeaderValue>, resource: &Resource) -> Result<(), Denial> {
    let (Some(server), Some(origin)) = (&resource.mcp, origin) else { return Ok(()) };
    let is_allowed = server.origins.iter().any(|own| origin.as_bytes() == own.as_bytes());
    if is_allowed { Ok(()) } else { Err(Denial::about(Reason::OriginDenied, "origin")) }
}

/// What is said to an agent in gRPC is not read, and so it is not passed on.
fn check_binding(content_type: Option<&HeaderValue>, resource: &Resource) -> Result<(), Denial> {
    let kind = content_type.filter(|_| resource.a2a.is_some());
    if kind.is_some_and(|kind| media::is_grpc(kind.as_bytes())) {
        return Err(Denial::about(Reason::BodyTypeRefused, "content-type"));
    }
    Ok(())
}

/// `policy.md` §8, `confirm`: on top of what the operation demands itself.
fn confirmation(entry: &Entry, resource: &Resource, method: &Method, path: &str) -> Option<Demand> {
    let overlay = &resource.confirm.find(method, path)?.confirmation;
    let own = &entry.confirmation;
    let max_age = [own.max_age, overlay.max_age].into_iter().flatten().min();
    Some(Demand { evidence: overlay.evidence, max_age, ..own.clone() })
}

fn check_upgrade(upgrade: Option<Upgrade>, resource: &Resource) -> Result<(), Denial> {
    match upgrade {
        None => Ok(()),
        Some(Upgrade::WebSocket) if resource.websocket => Ok(()),
        Some(Upgrade::WebSocket | Upgrade::Other) => {
            Err(Denial::about(Reason::UpgradeRefused, "upgrade"))
        }
    }
}

impl<'a> Call<'a> {
    /// The resource that is asked.
    pub const fn resource(&self) -> &'a Resource {
        self.resource
    }

    /// Its place among the resources of the world.
    pub const fn resource_index(&self) -> usize {
        self.index
    }

    /// The method.
    pub const fn method(&self) -> &'a Method {
        self.head.method
    }

    /// The decoded canonical path below the resource.
    pub fn path(&self) -> &str {
        match self.head.path.decoded().get(self.mount_length..) {
            Some(path) if !path.is_empty() => path,
            _ => "/",
        }
    }

    /// The path below the resource as sent: what is forwarded. Empty for the resource itself.
    pub const fn raw_path(&self) -> &'a str {
        self.raw_path
    }

    /// The whole path as sent.
    pub const fn full_path(&self) -> &'a str {
        self.head.path.raw()
    }

    /// The query as sent, without `?`.
    pub const fn query(&self) -> Option<&'a str> {
        self.head.query
    }

    /// The authority as sent.
    pub const fn authority(&self) -> &'a str {
        self.head.authority
    }

    /// Whether a switch to WebSocket is asked for.
    pub const fn wants_websocket(&self) -> bool {
        matches!(self.head.upgrade, Some(Upgrade::WebSocket))
    }

    /// The operation of the catalog that is asked for; what is not in the catalog does not exist.
    pub const fn entry(&self) -> Result<&'a Entry, Denial> {
        match &self.identified {
            Identified::Operation(entry) => Ok(entry),
            Identified::Disputed => Err(Denial::about(Reason::NoRoute, DISPUTED)),
            Identified::OtherMethods(_) => {
                Err(Denial { reason: Reason::MethodNotAllowed, about: None })
            }
            Identified::Unknown => Err(Denial { reason: Reason::NoRoute, about: None }),
        }
    }

    /// Whether what is asked for stands in its body, which was not read yet.
    pub fn awaits_message(&self) -> bool {
        let is_message = self.resource.mcp.is_some() && *self.head.method == Method::POST;
        (is_message || self.resource.a2a.is_some()) && self.said.is_none()
    }

    /// The call of what the message in its body asks for.
    pub fn speak(&mut self, asked: Asked) {
        let tool = asked.tool().and_then(|name| self.resource.mcp.as_ref()?.tool(name));
        if let (Some(tool), Identified::Operation(entry)) = (tool, &mut self.identified) {
            *entry = &tool.entry;
        }
        self.said = Some(Said::Mcp(asked));
    }

    /// The call of what is asked of an agent.
    pub fn exchange(&mut self, asked: a2a::asked::Asked) {
        self.said = Some(Said::A2a(asked));
    }

    /// What the message in its body asks for.
    pub const fn asked(&self) -> Option<&Asked> {
        match &self.said {
            Some(Said::Mcp(asked)) => Some(asked),
            Some(Said::A2a(_)) | None => None,
        }
    }

    /// What is asked of an agent.
    pub const fn exchanged(&self) -> Option<&a2a::asked::Asked> {
        match &self.said {
            Some(Said::A2a(asked)) => Some(asked),
            Some(Said::Mcp(_)) | None => None,
        }
    }

    /// The name of the action.
    pub fn action(&self) -> Result<&str, Denial> {
        match &self.said {
            Some(said) => Ok(said.action()),
            None => self.entry().map(|entry| &*entry.action),
        }
    }

    /// Whether the operator denies it, whatever a token says.
    pub fn is_denied(&self) -> bool {
        let tool = self.asked().and_then(Asked::tool);
        let rule = tool.and_then(|name| self.resource.mcp.as_ref()?.tool(name));
        rule.is_some_and(|tool| tool.denied) || self.resource.denies(self.head.method, self.path())
    }

    /// Whether a valid token is enough for it.
    pub fn is_open(&self) -> bool {
        match &self.said {
            Some(Said::A2a(asked)) => asked.is_open(),
            Some(Said::Mcp(asked)) => asked.is_open(),
            None => self.entry().is_ok_and(|entry| entry.is_open),
        }
    }

    /// Whether it is for everybody: it then needs no token.
    pub fn is_public(&self) -> bool {
        self.entry().is_ok_and(|entry| entry.is_public)
    }

    /// Whether it asks for a card of an agent, the public one or that for callers with a token.
    pub fn is_for_card(&self) -> bool {
        self.is_public() || self.exchanged().is_some_and(a2a::asked::Asked::is_open)
    }

    /// What is demanded of the person's confirmation.
    pub fn confirmation(&self) -> Result<&Demand, Denial> {
        let entry = self.entry()?;
        Ok(self.confirmation.as_ref().unwrap_or(&entry.confirmation))
    }

    /// The methods that the path exists for, when it does not for this one.
    pub fn other_methods(&self) -> &[&'a Method] {
        match &self.identified {
            Identified::OtherMethods(methods) => methods,
            Identified::Disputed | Identified::Operation(_) | Identified::Unknown => &[],
        }
    }

    /// The operation as grants and policies see it; `body` is what was read of its body to be judged.
    pub fn operation<'c>(&'c self, entry: &'c Entry, body: Option<&'c Body>) -> Operation<'c> {
        Operation {
            action: self.said.as_ref().map_or(&entry.action, Said::action),
            method: self.head.method,
            path: self.path(),
            resource: &self.resource.id,
            parameters: &entry.parameters,
            declared: &entry.declared,
            query: self.head.query,
            body,
            is_open: self.is_open(),
            message: self.said.as_ref().and_then(|said| said.told(body)),
        }
    }
}

impl Said {
    fn action(&self) -> &str {
        match self {
            Self::A2a(asked) => asked.method.name,
            Self::Mcp(asked) => &asked.action,
        }
    }

    /// It, as grants and policies see it; `body` is what it was read from.
    fn told<'c>(&'c self, body: Option<&'c Body>) -> Option<Spoken<'c>> {
        match self {
            Self::A2a(asked) => Some(Spoken {
                alias: asked.method.alias,
                args: asked.args(body.map(|body| &body.json)),
                told: Told::A2a(asked.told()),
            }),
            Self::Mcp(asked) => Some(Spoken {
                alias: &asked.alias,
                args: asked.args(&body?.json),
                told: Told::Mcp(asked.told()),
            }),
        }
    }
}
