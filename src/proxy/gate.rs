//! THE path: one request, one direction, one page.
//!
//! ```text
//! receive ─▶ authenticate ─▶ admit ─▶ authorize ─▶ record ─▶ forward
//!                    └── any refusal ─────▶ record ─▶ reject
//! ```

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::body::{Payload, ResponseBody, Room};
use super::challenge::{Guidance, Lacking};
use super::connection::{Abort, Connection, Handler};
use super::entry::{DecisionId, Entry, Trace};
use super::forward::{self, Account, Order};
use super::headers::{self, AUDIT_ID, Caller, DECISION_ID};
use super::hearing::Hearing;
use super::jsonrpc::{Dialect, Reply, ReplyTo};
use super::judge::{Arrival, Judgement, judge};
use super::mcp::{Ear, Purpose, Watch};
use super::metadata;
use super::reject::Rejection;
use super::serving::Serving;
use super::tether::Tether;
use super::visit::Visit;
use crate::config;
use crate::decide::call::Call;
use crate::decide::permit::{Ground, Permit};
use crate::decide::{exchange, revoked, spoken};
use crate::facts::ledger::Reservation;
use crate::journal::floods::{Floods, Recorded, Source};
use crate::journal::writer::{Journal, Receipt};
use crate::model::consulted::Consulted;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::head::{Head, Transport};
use crate::operation::mcp::Definitions;
use crate::operation::mcp::asked::{Asked, Subject};
use crate::operation::mcp::listing::Listing;
use crate::operation::mcp::version::Version;
use crate::policy::algebra::LOCAL;
use crate::runtime::clock;
use crate::runtime::metrics::{Metrics, PolicyAsked, Tally};
use crate::token::grant::Grant;
use crate::token::parties::Parties;
use crate::token::presenter::{Certificate, Presenter};

/// The gate: judges every request and forwards what is permitted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    serving: Arc<ArcSwap<Serving>>,
    journal: Journal,
    floods: Arc<Floods>,
    metrics: Arc<Metrics>,
    room: Arc<Room>,
    /// The second of the last line about a record that should be looked at.
    raised: AtomicU64,
}

/// What is known of a request beside its judgement.
#[derive(Debug)]
struct Context {
    now: Timestamp,
    begun: Instant,
    id: DecisionId,
    trace: Option<Trace>,
    caller: Caller,
    certificate: Option<Arc<Certificate>>,
}

impl Handler for Gate {
    type Body = ResponseBody;

    async fn handle(
        &self,
        mut request: Request<Incoming>,
        connection: &Arc<Connection>,
        n: u64,
    ) -> Result<Response<ResponseBody>, Abort> {
        let serving = self.0.serving.load_full();
        let upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (parts, mut payload) = request.map(Payload::Unread).into_parts();
        if let Some(document) = metadata(&serving, &parts, connection, n) {
            return Ok(document);
        }
        let context = Context::new(&serving, &parts, connection);
        // Before the decision: whatever is revoked while it is made and recorded ends the call after it.
        let raised = serving.facts.revocations().signal().raised();
        let mut judgement = Judgement::unread();
        let request = (&parts, &mut payload);
        self.judged(&serving, request, connection, n, &context, &mut judgement).await;
        let decided = clock::instant();
        let took = decided.saturating_duration_since(context.begun);
        let recorded = self.record(&judgement, &context, &serving, &parts, took).await;
        let tally = serving.tally(judgement.call.as_ref().map(Call::resource_index));
        self.count(&judgement, tally, took, &context.id);
        let (permit, receipt) = match (std::mem::replace(&mut judgement.verdict, USED), recorded) {
            (Ok(permit), Ok(receipt)) => (permit, receipt),
            (Err(denial), recorded) => {
                let audit_id = recorded.ok().map(|receipt| self.audit_id(&receipt));
                let audit_id = audit_id.as_deref();
                return Ok(refuse(denial, &judgement, &context, &serving, &parts, audit_id));
            }
            (Ok(_), Err(denial)) => {
                return Ok(refuse(denial, &judgement, &context, &serving, &parts, None));
            }
        };
        // Whatever becomes of the call from here on, this account is closed with its outcome.
        let account = Account::open(
            &self.0.journal,
            &self.0.metrics,
            tally.clone(),
            context.id.as_str(),
            &receipt,
            decided,
            judgement.reservation.take(),
        );
        let tether = self.tether(&permit, &judgement, &serving, raised);
        let ear = hearing(&mut judgement, &serving, &self.0.journal, context.now).map(Box::new);
        let Some(mut course) = Course::of(&mut judgement, &serving) else { return Err(Abort) };
        course.nonce = nonce(judgement.call.as_ref(), &serving, context.now);
        drop(judgement);
        let order = course.order(parts.headers, payload, upgrade, &context, &serving);
        let Some(order) = order.map(|order| Order { tether, ear, ..order }) else {
            return Err(Abort);
        };
        Ok(self.pass(permit, &receipt, order, account, course, &context).await)
    }
}

/// Stands where a verdict was taken out.
const USED: Result<Permit, Denial> = Err(Denial { reason: Reason::AuditUnavailable, about: None });

fn transport(connection: &Connection) -> Transport<'_> {
    Transport { server_name: connection.peer().server_name.as_deref() }
}

/// Metadata is public: served without a token, and never from upstream.
fn metadata(
    serving: &Serving,
    parts: &Parts,
    connection: &Connection,
    n: u64,
) -> Option<Response<ResponseBody>> {
    if !parts.uri.path().starts_with(metadata::WELL_KNOWN)
        || connection.violation(n, &parts.headers).is_some()
    {
        return None;
    }
    let head = Head::read(parts, transport(connection)).ok()?;
    serving.snapshot.world.routes.host(head.authority)?;
    let document = serving.metadata.answer(head.method, head.authority, head.path.raw())?;
    Some(document.map(ResponseBody::Full))
}

impl Context {
    fn new(serving: &Serving, parts: &Parts, connection: &Connection) -> Self {
        let now = clock::now();
        let id = DecisionId::new(now);
        let gate = &serving.snapshot.config.gate;
        let (peer, trusted) = (connection.peer(), &gate.trusted_hops);
        let passed_on = gate.client_certificate_header.as_ref();
        Self {
            certificate: headers::client_certificate(peer, &parts.headers, passed_on),
            now,
            begun: clock::instant(),
            trace: Trace::continued(&parts.headers, &id),
            caller: Caller::find(peer.address, &parts.headers, trusted),
            id,
        }
    }
}

/// Whose budget of records a refusal spends, where nothing else bounds how often it comes.
fn may_flood(judgement: &Judgement<'_>, context: &Context, reason: Reason) -> Option<Source> {
    if reason.is_unauthenticated() {
        return Some(Source::of(context.caller.address));
    }
    let grant = judgement.grant.as_ref().filter(|_| reason.is_of_a_cap())?;
    Some(Source::Token(*grant.digest()))
}

impl Gate {
    /// A gate that serves what `serving` points to, which a reload may replace at any time.
    pub fn new(
        serving: Arc<ArcSwap<Serving>>,
        journal: Journal,
        floods: Arc<Floods>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (room, raised) = (Arc::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { serving, journal, floods, metrics, room, raised }))
    }

    /// Forwards a call that may be, and gives the answer of the upstream.
    async fn pass(
        &self,
        permit: Permit,
        receipt: &Receipt,
        order: Order,
        account: Account,
        course: Course,
        context: &Context,
    ) -> Response<ResponseBody> {
        let audit_id = self.audit_id(receipt);
        let mut response = match forward::forward(permit, receipt, order, account).await {
            Ok(mut response) => {
                sign(response.headers_mut(), &context.id, audit_id);
                response
            }
            Err(reason) => failed(reason, &context.id, &audit_id, course.message),
        };
        response.headers_mut().extend(course.nonce);
        response
    }

    /// Judges a request, unless its bytes were already seen to break the rules of the connection.
    async fn judged<'a>(
        &self,
        serving: &'a Serving,
        (parts, payload): (&'a Parts, &mut Payload),
        connection: &'a Connection,
        n: u64,
        context: &'a Context,
        found: &mut Judgement<'a>,
    ) {
        if let Some(reason) = connection.violation(n, &parts.headers) {
            found.verdict = Err(reason.into());
            return;
        }
        let arrival = Arrival {
            transport: transport(connection),
            certificate: context.certificate.as_ref(),
            client: context.caller.address,
            now: context.now,
        };
        let (request, room) = ((parts, payload), &self.0.room);
        judge(&serving.snapshot, &serving.facts, request, arrival, room, found).await;
    }

    /// Writes the decision and waits until it is kept. A refusal that costs its caller nothing and comes
    /// in a flood is only counted.
    async fn record(
        &self,
        judgement: &Judgement<'_>,
        context: &Context,
        serving: &Serving,
        parts: &Parts,
        took: Duration,
    ) -> Result<Receipt, Denial> {
        let verdict = judgement.verdict.as_ref().map(Permit::ground).map_err(|denial| *denial);
        if let Err(denial) = verdict
            && let Some(source) = may_flood(judgement, context, denial.reason)
            && self.0.floods.refused(context.now, source, denial.reason) == Recorded::Aggregated
        {
            return Err(denial);
        }
        let resource =
            judgement.call.as_ref().and_then(|call| serving.resource(call.resource_index()));
        let upstream = resource.and_then(|resource| serving.upstreams.get(resource.upstream));
        let entry = Entry {
            id: &context.id,
            trace: context.trace.as_ref(),
            caller: context.caller,
            parts,
            call: judgement.call.as_ref(),
            upstream: upstream.map(|upstream| &*upstream.config().name),
            credentials: judgement.credentials,
            grant: judgement.grant.as_deref(),
            presenter: judgement.presenter.as_ref(),
            is_rebound: judgement.errand.as_ref().is_some_and(|errand| errand.is_rebound),
            visit: judgement.visit.as_ref(),
            body: judgement.body.as_ref().map(|body| &body.sha256),
            taken: judgement.reservation.as_ref().map_or(&[], Reservation::taken),
            shortfall: judgement.shortfall.as_ref(),
            fulfilled: judgement.fulfilled,
            alert: judgement.alert(),
            consulted: &judgement.consulted,
            verdict,
            took,
        };
        let computed = entry.compute(&self.0.journal);
        let decision = entry.decision(&computed, &self.0.journal);
        let receipt = if judgement.fulfilled.must_last {
            let receipt = self.0.journal.append_firmly(context.now, &decision).await;
            receipt.inspect(|_kept| serving.facts.recorded(&judgement.fulfilled))
        } else {
            self.0.journal.append(context.now, &decision).await
        };
        receipt.map_err(|error| error.reason().into())
    }

    /// Ties a call to the grant that permitted it. One that is only observed was not permitted by any.
    fn tether(
        &self,
        permit: &Permit,
        judgement: &Judgement<'_>,
        serving: &Serving,
        raised: u64,
    ) -> Option<Box<Tether>> {
        let granted = |_: &&Arc<Grant>| matches!(permit.ground(), Ground::Granted(_));
        let grant = judgement.grant.as_ref().filter(granted)?;
        let presenter = judgement.presenter.iter();
        let agents = presenter.flat_map(Presenter::agents).map(Into::into).collect();
        let signal = serving.facts.revocations().signal().clone();
        let current = Arc::clone(&self.0.serving);
        let tether = Tether::new(Arc::clone(grant), agents, current, signal, raised);
        let asked = judgement.credentials.filter(|_| {
            // So does one whose evidence its issuer told.
            let is_told = judgement.presenter.as_ref().is_some_and(|one| one.told().is_some());
            is_told || judgement.call.as_ref().is_some_and(|call| revoked::is_asked_of(call, grant))
        });
        Some(Box::new(match asked {
            Some(credentials) => tether.asked_about(credentials.token.token()),
            None => tether,
        }))
    }

    fn count(&self, judgement: &Judgement<'_>, tally: &Tally, took: Duration, id: &DecisionId) {
        let (allowed, reason) = match &judgement.verdict {
            Ok(permit) => match permit.ground() {
                Ground::Granted(_) | Ground::Public => (true, None),
                Ground::Observed(denial) => (true, Some(denial.reason)),
            },
            Err(denial) => (false, Some(denial.reason)),
        };
        self.0.metrics.decided(tally, allowed, reason, took);
        for Consulted { carrier, dialect, result, elapsed, .. } in &judgement.consulted {
            self.0.metrics.asked(PolicyAsked { carrier, dialect, result }, *elapsed);
        }
        if let Some(alert) = judgement.alert() {
            self.raise(alert, judgement, id);
        }
    }

    /// Tells whoever reads the log that a record should be looked at: once in a second at most, so that
    /// nobody can hide one line among thousands.
    fn raise(&self, alert: &'static str, judgement: &Judgement<'_>, id: &DecisionId) {
        self.0.metrics.alerted(alert);
        let second = clock::now().seconds();
        if self.0.raised.swap(second, Ordering::Relaxed) != second {
            let issuer = judgement.grant.as_ref().map(|grant| &*grant.issuer().id);
            let resource = judgement.call.as_ref().map(|call| &*call.resource().id);
            let decision_id = id.as_str();
            tracing::error!(alert, decision_id, resource, issuer, "a record should be looked at");
        }
    }

    fn audit_id(&self, receipt: &Receipt) -> String {
        [self.0.journal.name(), "/", itoa::Buffer::new().format(receipt.seq())].concat()
    }
}

fn refuse(
    denial: Denial,
    judgement: &Judgement<'_>,
    context: &Context,
    serving: &Serving,
    parts: &Parts,
    audit_id: Option<&str>,
) -> Response<ResponseBody> {
    let call = judgement.call.as_ref();
    let resource = call.and_then(|call| serving.resource(call.resource_index()));
    let rejection = Rejection {
        denial,
        decision_id: context.id.as_str(),
        audit_id,
        resource,
        metadata: call.and_then(|call| serving.metadata.url(call.resource_index())),
        guidance: call
            .zip(resource)
            .and_then(|(call, resource)| guidance(denial, call, resource, judgement, serving)),
        allow: call.map_or(&[], Call::other_methods),
        scheme: judgement.credentials.map(|credentials| credentials.scheme),
        retry_after: judgement.shortfall.as_ref().and_then(|shortfall| shortfall.after),
        misfit: judgement.misfit.as_ref(),
        message: reply_to(judgement),
        headers: Some(&parts.headers),
    };
    let mut response = rejection.response().map(ResponseBody::Full);
    response.headers_mut().extend(nonce(call, serving, context.now));
    response
}

/// Whoever hears the answer to what is let through, where it is in a protocol of its own.
fn hearing(
    judgement: &mut Judgement<'_>,
    serving: &Arc<Serving>,
    journal: &Journal,
    now: Timestamp,
) -> Option<Hearing> {
    if let Some(agent) = judgement.call.as_ref().and_then(|call| call.resource().a2a.as_deref()) {
        let call = judgement.call.as_ref()?;
        if agent.rewrites_card && call.is_for_card() {
            return Some(Hearing::Card(address(call, serving)?));
        }
        let errand = judgement.errand.take()?;
        return errand.ear(call, serving.facts.tasks(), now).map(Hearing::A2a);
    }
    ear(judgement, serving, journal, now).map(Hearing::Mcp)
}

/// Where agents reach the resource.
fn address(call: &Call<'_>, serving: &Serving) -> Option<Box<str>> {
    let resource = serving.resource(call.resource_index())?;
    let scheme = if serving.snapshot.config.gate.origin.secure { "https" } else { "http" };
    Some(format!("{scheme}://{}{}", resource.authority, resource.mount).into())
}

/// Whoever hears the answer to what is let through to an MCP server. A session that nothing was known of is
/// the caller's from here on.
fn ear(
    judgement: &mut Judgement<'_>,
    serving: &Arc<Serving>,
    journal: &Journal,
    now: Timestamp,
) -> Option<Ear> {
    let Visit { place, owner, is_rebound, .. } = judgement.visit.take()?;
    let sessions = Arc::clone(serving.facts.sessions());
    if is_rebound {
        sessions.bind(&place, owner, None, now);
    }
    let call = judgement.call.as_ref()?;
    let definitions = call.resource().mcp.as_ref()?.definitions;
    let watch = (definitions != Definitions::Ignored).then(|| Watch {
        tools: Arc::clone(serving.facts.tools()),
        journal: journal.clone(),
        is_strict: definitions == Definitions::Refused,
    });
    let purpose = match call.asked() {
        Some(asked) if asked.method == "initialize" => Purpose::Beginning,
        Some(asked) => listing(asked, call, judgement.grant.as_ref(), serving, now)
            .or_else(|| (asked.version < Version::V2026_07_28).then_some(Purpose::Questions))?,
        None => Purpose::Questions,
    };
    Some(Ear { sessions, place, owner, purpose, watch, is_unread: Cell::default() })
}

/// What is kept of a list, where it is one: what the token could use.
fn listing(
    asked: &Asked,
    call: &Call<'_>,
    grant: Option<&Arc<Grant>>,
    serving: &Arc<Serving>,
    now: Timestamp,
) -> Option<Purpose> {
    let (Subject::List(member, used_by), Some(id)) = (asked.subject, asked.request_id()) else {
        return None;
    };
    // Where refusals are only observed, nothing is hidden either.
    let resource = call.resource();
    let filters = resource.mcp.as_ref()?.filters_lists && !resource.observed;
    let Some(grant) = grant.filter(|_| filters).map(Arc::clone) else {
        return Some(Purpose::Listing(Listing { id: id.clone(), member, ttl: 0 }, None));
    };
    let ttl = u64::try_from(grant.ends().since(now).as_millis()).unwrap_or(u64::MAX);
    let (serving, index) = (Arc::clone(serving), call.resource_index());
    let keeps = move |name: &str| {
        let resource = serving.snapshot.world.resources.get(index);
        resource.is_some_and(|resource| spoken::could_use(resource, &grant, used_by, name, now))
    };
    Some(Purpose::Listing(Listing { id: id.clone(), member, ttl }, Some(Box::new(keeps))))
}

/// What a refusal of a message answers: once its sender is admitted, that is what is refused.
fn reply_to(judgement: &Judgement<'_>) -> Option<Reply> {
    let call = judgement.call.as_ref()?;
    let dialect = dialect(call).filter(|_| judgement.presenter.is_some())?;
    let id = judgement.reply_to.clone();
    // A notification has none, and there is no answer to what asked for none.
    let is_unanswered = call.asked().is_some_and(|asked| asked.request_id().is_none());
    let to = match (id, is_unanswered) {
        (Some(id), _) => ReplyTo::Request(id),
        (None, true) => ReplyTo::Nothing,
        (None, false) => ReplyTo::Unreadable,
    };
    Some(Reply { dialect, to })
}

/// The form of an error about `call`, where it is said in a protocol of its own.
fn dialect(call: &Call<'_>) -> Option<Dialect> {
    if call.resource().a2a.is_some() {
        let is_message = call.entry().is_ok_and(|entry| *entry.action == *exchange::MESSAGE);
        return Some(if is_message { Dialect::A2a } else { Dialect::Rest });
    }
    (call.awaits_message() || call.asked().is_some()).then_some(Dialect::Mcp)
}

/// RFC 9449 §8.2: where nonces are demanded, every answer carries the one to use next.
fn nonce(
    call: Option<&Call<'_>>,
    serving: &Serving,
    now: Timestamp,
) -> Option<(HeaderName, HeaderValue)> {
    let nonce = serving.facts.nonce(call?.resource(), now)?;
    Some((HeaderName::from_static("dpop-nonce"), HeaderValue::try_from(nonce).ok()?))
}

fn guidance<'g>(
    denial: Denial,
    call: &'g Call<'_>,
    resource: &'g config::Resource,
    judgement: &'g Judgement<'_>,
    serving: &'g Serving,
) -> Option<Guidance<'g>> {
    // No token changes what the operator's own policy says: guidance would send the agent round in circles.
    if denial.about == Some(LOCAL) {
        return None;
    }
    let entry = call.entry().ok()?;
    let operation = call.operation(entry, judgement.body.as_ref());
    let own = judgement.grant.as_ref().map(|grant| &*grant.issuer().id);
    let first =
        resource.issuers.first().and_then(|index| serving.snapshot.config.issuers.get(*index));
    Some(Guidance {
        configured: &resource.guidance,
        auth_server: own.or(first.map(|issuer| &*issuer.trust.id))?,
        authentication: &entry.authentication,
        confirmation_required: denial.reason == Reason::ConfirmationRequired,
        single_use: call.resource().caps_on(call.action().ok()?).any(|cap| cap.is_single_use()),
        required_scope: resource.scopes.iter().chain(&entry.scopes).map(|scope| &**scope).collect(),
        lacking: lacking(denial, judgement, &operation),
        operation,
        raw_path: call.raw_path(),
    })
}

/// What would cure a refusal, as far as the token's own entries tell.
fn lacking(denial: Denial, judgement: &Judgement<'_>, operation: &Operation<'_>) -> Lacking {
    match denial.reason {
        Reason::ArgumentsOutside => {
            let entries = judgement.grant.iter().flat_map(|grant| grant.entries());
            let lists = entries
                .filter(|entry| entry.bounds.hold(operation))
                .filter_map(|entry| entry.rule.listed());
            let named = lists.flatten().find(|allowed| allowed.names(operation));
            named.map_or(Lacking::Operation, |allowed| {
                Lacking::Arguments(allowed.constraints().for_this_call(operation))
            })
        }
        Reason::PolicyDenied | Reason::PolicyUndefined | Reason::PolicyNonBoolean => {
            Lacking::Policy
        }
        _ => Lacking::Operation,
    }
}

/// A permitted call that the upstream did not answer.
fn failed(
    reason: Reason,
    id: &DecisionId,
    audit_id: &str,
    message: Option<Reply>,
) -> Response<ResponseBody> {
    let rejection = Rejection {
        denial: reason.into(),
        decision_id: id.as_str(),
        audit_id: Some(audit_id),
        resource: None,
        metadata: None,
        guidance: None,
        allow: &[],
        scheme: None,
        retry_after: None,
        misfit: None,
        message,
        headers: None,
    };
    rejection.response().map(ResponseBody::Full)
}

/// Names the decision and its record to the caller.
fn sign(headers: &mut HeaderMap, id: &DecisionId, audit_id: String) {
    headers::insert(headers, DECISION_ID, id.as_str());
    if let Ok(value) = HeaderValue::try_from(audit_id) {
        headers.insert(AUDIT_ID, value);
    }
}

/// Where a judged call goes: what must be taken from the call before its head is used up.
#[derive(Debug)]
struct Course {
    resource: usize,
    method: Method,
    target: Box<str>,
    authority: Box<str>,
    websocket: bool,
    /// Headers that the message does not confirm.
    stray: Vec<HeaderName>,
    /// What a failure answers.
    message: Option<Reply>,
    /// The nonce to use next.
    nonce: Option<(HeaderName, HeaderValue)>,
    grant: Option<Arc<Grant>>,
    presenter: Option<Presenter>,
}

impl Course {
    fn of(judgement: &mut Judgement<'_>, serving: &Serving) -> Option<Self> {
        let stray = std::mem::take(&mut judgement.stray);
        let call = judgement.call.as_ref()?;
        let resource = call.resource_index();
        serving.resource(resource)?;
        Some(Self {
            resource,
            method: call.method().clone(),
            target: target(call),
            authority: call.authority().into(),
            websocket: call.wants_websocket(),
            stray,
            message: reply_to(judgement),
            nonce: None,
            grant: judgement.grant.take(),
            presenter: judgement.presenter.take(),
        })
    }

    /// The order to the upstream: the judged target, and headers cleaned of what it must not see.
    fn order(
        &mut self,
        mut headers: HeaderMap,
        body: Payload,
        upgrade: Option<OnUpgrade>,
        context: &Context,
        serving: &Serving,
    ) -> Option<Order> {
        let config = &serving.snapshot.config;
        let resource = serving.resource(self.resource)?;
        headers::clean_request(&mut headers, resource, &config.gate);
        for name in &self.stray {
            headers.remove(name);
        }
        if resource.mcp.is_some() || resource.a2a.is_some() {
            // What a server says there is read, and it need not say it encoded.
            headers.remove(header::ACCEPT_ENCODING);
        }
        headers::tell_way(&mut headers, &config.gate, context.caller, &self.authority);
        if let Some(trace) = &context.trace {
            headers::insert(&mut headers, headers::TRACEPARENT, trace.header());
        }
        if resource.identity_headers {
            headers::insert(&mut headers, DECISION_ID, context.id.as_str());
            let grant = self.grant.as_deref();
            let parties = grant.map(|grant| Parties::of(grant, self.presenter.as_ref()));
            headers::tell_identity(&mut headers, parties);
        }
        if self.websocket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        Some(Order {
            upstream: Arc::clone(serving.upstreams.get(resource.upstream)?),
            method: self.method.clone(),
            target: std::mem::take(&mut self.target),
            headers,
            body,
            body_limit: resource.body_limit,
            body_idle: config.limits.body_idle,
            unwanted_trailers: serving.unwanted_trailers(self.resource)?,
            ends_with_grant: resource.end_stream_at_expiry,
            came: (context.now, context.begun),
            tether: None,
            ear: None,
            upgrade: upgrade.filter(|_| self.websocket),
        })
    }
}

/// The path below the resource and the query, byte for byte as they were judged.
fn target(call: &Call<'_>) -> Box<str> {
    match call.query() {
        None => call.raw_path().into(),
        Some(query) => [call.raw_path(), query].join("?").into(),
    }
}
