//! Policies in a decision: each is found, held against what ties it to its token, and asked
//! (`policy.md` §3 to §6; `verification.md` steps 25 and 26).
//!
//! Nothing is fetched and nothing compiled here: what is lacking is said, all of it at once, and the step is
//! taken again when the world has done what it can.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::call::Call;
use super::facts::{Facts, Policies, Stop};
use crate::model::body::Body;
use crate::model::consulted::Consulted;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::mcp::definition::InputSchema;
use crate::policy::algebra::{Ask, Asked};
use crate::policy::engine::{
    Class, Evaluation, Failure, Input, Language, Limits, Policy, Source, Verdict, Written,
};
use crate::policy::input::{self, Given, Request};
use crate::policy::library::{Address, Lack, Long, Pin};
use crate::policy::record::{Record, Tie, pin_name};
use crate::token::grant::{Boundary, Grant};
use crate::token::hash::{equal, sha256};
use crate::token::policies::{self as carried, Digest, DigestAlgorithm};
use crate::token::presenter::Presenter;
use crate::token::trust::{Issuer, Shape};

/// How long the answer that there is no such policy, or another than the token means, is believed.
const FRESH: Duration = Duration::from_secs(5);

/// What is decided about: a call, by whom, and what policies may be told of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The call.
    pub call: &'a Call<'a>,
    /// The verified token.
    pub grant: &'a Grant,
    /// What its presenter has proven.
    pub presenter: &'a Presenter,
    /// The headers of the request.
    pub headers: &'a HeaderMap,
    /// The address of the caller.
    pub client: Option<IpAddr>,
    /// The body, where it was read to be judged.
    pub body: Option<&'a Body>,
    /// Whether there is a body that was not.
    pub is_unread: bool,
    /// What the arguments of a message must fit.
    pub schema: Option<&'a InputSchema>,
}

/// The policies of one call, as they are asked.
#[derive(Debug)]
pub(super) struct Consultation<'c> {
    question: &'c Question<'c>,
    operation: &'c Operation<'c>,
    facts: &'c Facts<'c>,
    /// What was told so far: its shape, whose `context` it has, and its digest.
    told: Vec<Told>,
    log: Vec<Consulted>,
}

/// What policies were told of the call, in one shape.
#[derive(Clone, Debug)]
pub struct Told {
    shape: Shape,
    /// The entry whose `context` it has; `None` for that of the token.
    entry: Option<usize>,
    /// The input.
    pub input: Input,
    /// Its SHA-256, as records have it.
    pub sha256: [u8; 32],
}

/// A policy that a token names, and what ties its text to it.
#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    issuer: usize,
    trust: &'a Issuer,
    id: Option<&'a str>,
    version: Option<&'a str>,
    uri: Option<&'a str>,
    digest: Option<&'a Digest>,
    binding: Option<&'a [u8; 32]>,
    carrier: &'static str,
}

impl Ask for Consultation<'_> {
    type Stop = Stop;

    fn ask(&mut self, asked: Asked<'_>) -> Result<Result<Verdict, Denial>, Stop> {
        match self.policy(asked) {
            Ok(policy) => self.evaluate(asked, &policy),
            Err(Stop::Refuse(denial)) => Ok(Err(denial)),
            Err(Stop::Policies(_)) => Err(Stop::Policies(self.lacking(asked))),
            Err(need) => Err(need),
        }
    }
}

impl<'c> Consultation<'c> {
    pub(super) const fn new(
        question: &'c Question<'c>,
        operation: &'c Operation<'c>,
        facts: &'c Facts<'c>,
    ) -> Self {
        Self { question, operation, facts, told: Vec::new(), log: Vec::new() }
    }

    /// The policies that were asked, in order, and what they were told.
    pub(super) fn into_log(self) -> (Vec<Consulted>, Vec<Told>) {
        (self.log, self.told)
    }

    /// All that is lacking of the policies that `asked` is one of, so that it is fetched at the same time.
    fn lacking(&self, asked: Asked<'_>) -> Vec<Lack> {
        let grant = self.question.grant;
        let all: Vec<Asked<'_>> = match asked {
            Asked::Boundary(_) | Asked::Local(_) => {
                grant.boundaries().iter().map(Asked::Boundary).collect()
            }
            Asked::Entry(..) => grant
                .entries()
                .iter()
                .filter(|entry| entry.bounds.hold(self.operation))
                .filter_map(|entry| Some(Asked::Entry(entry, entry.rule.policy()?)))
                .collect(),
        };
        let lacks = all.into_iter().filter_map(|one| match self.policy(one) {
            Err(Stop::Policies(lacks)) => Some(lacks),
            Ok(_) | Err(Stop::Need(_) | Stop::Refuse(_)) => None,
        });
        let mut lacking = Vec::new();
        for lack in lacks.flatten() {
            if !lacking.contains(&lack) {
                lacking.push(lack);
            }
        }
        lacking
    }

    /// The compiled policy, once its text is known to be the one that was consented to.
    fn policy(&self, asked: Asked<'_>) -> Result<Arc<Policy>, Stop> {
        let carrier = asked.carrier();
        let grant = self.question.grant;
        match asked {
            Asked::Local(place) => {
                let local = self.question.call.resource().local_policies.get(place);
                let local = local.ok_or(Denial::about(Reason::PolicyUnresolvable, carrier))?;
                Ok(Arc::clone(&local.policy))
            }
            Asked::Entry(_, policy) => self.carried(policy, &grant.issuer().id, carrier),
            Asked::Boundary(Boundary::DelegatedPolicy(place)) => {
                let unresolvable = Denial::about(Reason::PolicyUnresolvable, carrier);
                let policy = grant.delegated_policy(*place).ok_or(unresolvable)?;
                let hop = grant.delegation().and_then(|chain| chain.hops.get(*place));
                self.carried(policy, &hop.ok_or(unresolvable)?.authority, carrier)
            }
            Asked::Boundary(Boundary::PolicyId(registered)) => {
                let named = Named {
                    id: Some(&registered.id),
                    binding: registered.binding.as_ref(),
                    ..self.named(&grant.issuer().id, carrier)?
                };
                self.registered(&named)
            }
            Asked::Boundary(Boundary::PolicyRef(reference)) => {
                let named = Named {
                    id: Some(&reference.id),
                    version: reference.version.as_deref(),
                    uri: reference.endpoint.as_deref(),
                    digest: reference.digest.as_ref(),
                    ..self.named(&grant.issuer().id, carrier)?
                };
                self.registered(&named)
            }
        }
    }

    /// A policy of the issuer called `id`, of which nothing else is known. A server of a chain that is no
    /// issuer here has no policies that could be had.
    fn named(&self, id: &str, carrier: &'static str) -> Result<Named<'c>, Denial> {
        let unresolvable = Denial::about(Reason::PolicyUnresolvable, carrier);
        let issuer = self.facts.world.issuer_called(id).ok_or(unresolvable)?;
        let trust = self.facts.issuer(issuer)?;
        let (id, version, uri, digest, binding) = (None, None, None, None, None);
        Ok(Named { issuer, trust, id, version, uri, digest, binding, carrier })
    }

    /// A policy whose language and entry point stand in the token, and its text or its address.
    fn carried(
        &self,
        policy: &carried::Policy,
        authority: &str,
        carrier: &'static str,
    ) -> Result<Arc<Policy>, Stop> {
        let named = self.named(authority, carrier)?;
        let language = language(&policy.language, named.trust)
            .ok_or(Denial::about(Reason::PolicyLanguageUnknown, carrier))?;
        match &policy.source {
            carried::Source::Inline(text) => {
                self.compiled(language, &policy.entry_point, text, carrier)
            }
            carried::Source::Uri(uri, digest) => {
                let named = Named { uri: Some(uri), digest: digest.as_ref(), ..named };
                let record = self.resolve(&named)?;
                self.compiled(language, &policy.entry_point, &record.text, carrier)
            }
        }
    }

    /// A policy whose language and entry point are its registry's to say.
    fn registered(&self, named: &Named<'_>) -> Result<Arc<Policy>, Stop> {
        let record = self.resolve(named)?;
        let language = language(record.language_name(), named.trust)
            .ok_or(Denial::about(Reason::PolicyLanguageUnknown, named.carrier))?;
        self.compiled(language, record.entry_point(), &record.text, named.carrier)
    }

    /// The text behind a name: from the operator's registry, else from where it was fetched. Digests are
    /// compared before anything is done with the text (§6.1).
    fn resolve(&self, named: &Named<'_>) -> Result<Arc<Record>, Stop> {
        let Named { digest, binding, id, carrier, .. } = *named;
        let tie = Tie { digest, binding, id };
        let mismatch = Denial::about(Reason::PolicyDigestMismatch, carrier);
        if let Some(record) = self.provisioned(named) {
            return match tie.holds(record) {
                Some(true) => Ok(Arc::clone(record)),
                Some(false) => Err(mismatch.into()),
                None => self.pinned(named, Arc::clone(record)),
            };
        }
        if !tie.is_tight() && !named.trust.policies.pins {
            return Err(Denial::about(Reason::PolicyUnbound, carrier).into());
        }
        let is_allowed = match named.uri {
            Some(uri) => named.trust.policies.may_fetch(uri),
            None => named.trust.policies.has_registry,
        };
        if !is_allowed {
            return Err(Denial::about(Reason::PolicyUnresolvable, carrier).into());
        }
        let address = named.address();
        let found = self.facts.policies.library.found(&address);
        let now = self.facts.now;
        let is_fresh = |at: Timestamp, age: Duration| now < at.after(age);
        match found.as_deref().map(|found| (found.at, found.record.as_ref())) {
            Some((at, Some(record))) => match tie.holds(record) {
                // However long ago: it is the text that was meant.
                Some(true) => Ok(Arc::clone(record)),
                Some(false) if is_fresh(at, FRESH) => Err(mismatch.into()),
                None if is_fresh(at, named.trust.policies.refresh) => {
                    self.pinned(named, Arc::clone(record))
                }
                Some(false) | None => Err(self.lack(Lack::Text(address, Some(at)), carrier)),
            },
            Some((at, None)) if is_fresh(at, FRESH) => {
                Err(Denial::about(Reason::PolicyUnresolvable, carrier).into())
            }
            Some((at, None)) => Err(self.lack(Lack::Text(address, Some(at)), carrier)),
            None => Err(self.lack(Lack::Text(address, None), carrier)),
        }
    }

    /// What the operator keeps under the name, or under the digest that the token names or that is the name.
    fn provisioned(&self, named: &Named<'_>) -> Option<&'c Arc<Record>> {
        let registry = &self.facts.world.registry;
        let by_name = match (named.id, named.version) {
            (Some(id), Some(version)) => {
                registry.named(&named.trust.id, &format!("{id}@{version}"))
            }
            (Some(id), None) => registry.named(&named.trust.id, id),
            (None, _) => None,
        };
        let by_digest = |digest: &Digest| match digest.algorithm {
            DigestAlgorithm::Sha256 => registry.with_digest(&digest.bytes),
            DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => None,
        };
        let address = named.id.and_then(Digest::parse_address);
        by_name
            .or_else(|| [named.digest, address.as_ref()].into_iter().flatten().find_map(by_digest))
    }

    /// A text that nothing ties to its token but that it was the first behind its name (§6.3).
    fn pinned(&self, named: &Named<'_>, record: Arc<Record>) -> Result<Arc<Record>, Stop> {
        let unbound = Denial::about(Reason::PolicyUnbound, named.carrier);
        if !named.trust.policies.pins {
            return Err(unbound.into());
        }
        let id = match (named.id, named.version) {
            (Some(id), Some(version)) => Some(format!("{id}@{version}")),
            (id, _) => id.map(ToOwned::to_owned),
        };
        let text = pin_name(id.as_deref(), named.uri).ok_or(unbound)?;
        let name = (named.trust.id.clone(), text.into());
        let ends = self.question.grant.ends();
        // Tokens that name it may be issued until the last of those that do now has ended.
        let wanted = Pin { sha256: record.sha256, until: ends.after(named.trust.max_lifetime) };
        match self.facts.policies.library.pin(&name).filter(|pin| self.facts.now < pin.until) {
            Some(pin) if !equal(&pin.sha256, &record.sha256) => {
                Err(Denial::about(Reason::PolicyDigestMismatch, "pin").into())
            }
            Some(pin) if ends <= pin.until => Ok(record),
            Some(_) | None => Err(self.lack(Lack::Pinned(name, wanted), named.carrier)),
        }
    }

    fn compiled(
        &self,
        language: Language,
        entry_point: &str,
        text: &str,
        carrier: &'static str,
    ) -> Result<Arc<Policy>, Stop> {
        let source = Source { language, class: Class::Carried, entry_point, text };
        match self.facts.policies.library.compiled.known(&source.key()) {
            Some(Ok(policy)) => Ok(policy),
            Some(Err(_why)) => Err(Denial::about(Reason::PolicyNotAdmitted, carrier).into()),
            None => {
                let written = Written {
                    language,
                    class: Class::Carried,
                    entry_point: entry_point.into(),
                    text: text.into(),
                };
                Err(self.lack(Lack::Compiled(written), carrier))
            }
        }
    }

    /// Says what is lacking; where the world has tried in vain, refuses.
    fn lack(&self, lack: Lack, carrier: &'static str) -> Stop {
        if self.facts.policies.tried.contains(&lack) {
            Denial::about(Reason::PolicyUnavailable, carrier).into()
        } else {
            Stop::Policies(vec![lack])
        }
    }

    fn evaluate(
        &mut self,
        asked: Asked<'_>,
        policy: &Arc<Policy>,
    ) -> Result<Result<Verdict, Denial>, Stop> {
        let carrier = asked.carrier();
        // A policy that forbids by what stands in the arguments would find nothing to forbid.
        if self.question.is_unread {
            return Ok(Err(Denial::about(Reason::PolicyEngineFailed, "body")));
        }
        let (shape, entry) = match asked {
            // The operator's own policies read one form, whosever the token is.
            Asked::Local(_) => (Shape::Standard, None),
            Asked::Boundary(_) => (self.question.grant.issuer().policies.shape, None),
            Asked::Entry(entry, _) => {
                (self.question.grant.issuer().policies.shape, Some(entry.index))
            }
        };
        let (input, digest) = match self.input(asked, shape, entry) {
            Ok(input) => input,
            Err(denial) => return Ok(Err(denial)),
        };
        let (evaluation, elapsed) = self.answer(policy, input, digest)?;
        self.log.push(Consulted {
            carrier,
            id: self.id(asked),
            place: place(asked),
            sha256: *policy.digest(),
            data: policy.data().copied(),
            dialect: policy.dialect(),
            profile: shape.word(),
            input: digest,
            result: result(evaluation.outcome),
            steps: evaluation.steps,
            elapsed,
        });
        Ok(evaluation.outcome.map_err(|failure| {
            let reason = match failure {
                Failure::Budget => Reason::PolicyBudget,
                Failure::Engine => Reason::PolicyEngineFailed,
                Failure::Timeout => Reason::PolicyTimeout,
            };
            Denial::about(reason, carrier)
        }))
    }

    /// What the policy says, and how long that took: here, when it needs few steps; else as it was found out
    /// elsewhere.
    fn answer(
        &self,
        policy: &Arc<Policy>,
        input: Input,
        sha256: [u8; 32],
    ) -> Result<(Evaluation, Duration), Stop> {
        let Policies { answered, tried, watch, .. } = self.facts.policies;
        let long = Long { policy: Arc::clone(policy), input, sha256 };
        if let Some(known) = answered.iter().find(|known| known.long == long) {
            return Ok((known.evaluation.clone(), known.elapsed));
        }
        let begun = watch();
        let quick = if long.input.is_large() {
            Evaluation { outcome: Err(Failure::Budget), steps: 0, fault: None }
        } else {
            policy.evaluate(&long.input, &Limits { steps: Limits::QUICK, stop: None })
        };
        let lack = Lack::Answer(long);
        // What was tried in vain is not tried again.
        if quick.outcome == Err(Failure::Budget) && !tried.contains(&lack) {
            return Err(Stop::Policies(vec![lack]));
        }
        Ok((quick, watch().saturating_sub(begun)))
    }

    /// What the policy is told. Policies that are told the same share it.
    fn input(
        &mut self,
        asked: Asked<'_>,
        shape: Shape,
        entry: Option<usize>,
    ) -> Result<(Input, [u8; 32]), Denial> {
        let is_same = |told: &&Told| told.shape == shape && told.entry == entry;
        if let Some(told) = self.told.iter().find(is_same) {
            return Ok((told.input.clone(), told.sha256));
        }
        let Question { call, grant, presenter, headers, client, .. } = *self.question;
        let context = match asked {
            Asked::Entry(entry, _) => entry.context.as_ref(),
            Asked::Boundary(_) | Asked::Local(_) => grant.context(),
        };
        let world = self.facts.world;
        let request = Request {
            scheme: world.origin.split_once("://").map_or("", |(scheme, _)| scheme),
            host: call.authority(),
            headers,
            client,
        };
        let given = Given {
            grant,
            presenter,
            operation: self.operation,
            request,
            exposed: &call.resource().exposed,
            instance: &world.instance,
            now: self.facts.now,
        };
        let object = input::object(&given, shape, context)?;
        let digest = sha256(&input::serialized(&object));
        let input = Input::new(object);
        self.told.push(Told { shape, entry, input: input.clone(), sha256: digest });
        Ok((input, digest))
    }

    fn id(&self, asked: Asked<'_>) -> Option<Box<str>> {
        match asked {
            Asked::Boundary(Boundary::PolicyId(registered)) => Some(registered.id.clone()),
            Asked::Boundary(Boundary::PolicyRef(reference)) => Some(reference.id.clone()),
            Asked::Boundary(Boundary::DelegatedPolicy(place)) => {
                uri(self.question.grant.delegated_policy(*place)?)
            }
            Asked::Entry(_, policy) => uri(policy),
            Asked::Local(place) => {
                Some(self.question.call.resource().local_policies.get(place)?.name.clone())
            }
        }
    }
}

impl Named<'_> {
    fn address(&self) -> Address {
        Address {
            issuer: self.issuer,
            id: self.id.map(Into::into),
            version: self.version.map(Into::into),
            uri: self.uri.map(Into::into),
        }
    }
}

fn uri(policy: &carried::Policy) -> Option<Box<str>> {
    match &policy.source {
        carried::Source::Inline(_) => None,
        carried::Source::Uri(uri, _) => Some(uri.clone()),
    }
}

const fn place(asked: Asked<'_>) -> Option<usize> {
    match asked {
        Asked::Entry(entry, _) => Some(entry.index),
        Asked::Boundary(Boundary::DelegatedPolicy(place)) => Some(*place),
        Asked::Boundary(Boundary::PolicyId(_) | Boundary::PolicyRef(_)) | Asked::Local(_) => None,
    }
}

const fn result(outcome: Result<Verdict, Failure>) -> &'static str {
    match outcome {
        Ok(Verdict::True) => Consulted::TRUE,
        Ok(Verdict::False) => "false",
        Ok(Verdict::NonBoolean) => "non_boolean",
        Ok(Verdict::Undefined) => "undefined",
        Err(_) => "error",
    }
}

/// The language as the issuer is trusted with it; `None` for one that is not known or not allowed.
pub fn language(name: &str, issuer: &Issuer) -> Option<Language> {
    match name {
        "rego" if issuer.policies.rego_v0 => Some(Language::RegoV0),
        "rego" => Some(Language::RegoV1),
        "cedar" if issuer.policies.cedar => Some(Language::Cedar),
        _ => None,
    }
}
