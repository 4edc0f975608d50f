//! The paths of a document: one walk over the segments finds the operation, however many there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use http::Method;

use crate::model::pattern::{Pattern, Segment};
use crate::model::template::Parameter;

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This text.
    Literal(Box<str>),
    /// A parameter.
    Parameter(Parameter),
}

/// How the paths of two templates lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Some path belongs to both, and neither is the more concrete one.
    Crossing,
    /// No path belongs to both.
    Disjoint,
    /// They are one template, whatever their parameters are called.
    Same,
    /// The first is more concrete, and wins (OpenAPI 3.1 §4.8.8.1).
    Narrower,
    /// The second is more concrete, and wins.
    Wider,
}

/// Templates by method, each with a number.
#[derive(Debug, Default)]
pub struct Templates {
    tables: HashMap<Method, Node>,
    rivals: HashMap<usize, Vec<Vec<Part>>>,
    /// Numbers and parts in the order in which they were added, to find rivals by.
    added: Vec<(usize, Vec<Part>)>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Self>,
    parameters: BTreeMap<Shape, (Parameter, Self)>,
    number: Option<usize>,
}

/// What a parameter takes, the most concrete first: by the text around it, and then by its type.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    length: Reverse<usize>,
    whole: Reverse<bool>,
    prefix: Box<str>,
    suffix: Box<str>,
}

impl Shape {
    fn of(parameter: &Parameter) -> Self {
        let (prefix, suffix) = parameter.around();
        Self {
            length: Reverse(prefix.len() + suffix.len()),
            whole: Reverse(parameter.whole),
            prefix: prefix.into(),
            suffix: suffix.into(),
        }
    }
}

/// The segments of a template.
pub fn parts(pattern: &Pattern, parameters: &[Parameter]) -> Vec<Part> {
    let numbered = pattern.segments().iter().enumerate();
    numbered
        .map(|(n, segment)| match parameters.iter().find(|one| one.segment() == n) {
            Some(parameter) => Part::Parameter(parameter.clone()),
            None => Part::Literal(match segment {
                Segment::Literal(text) | Segment::Wild(text) => text.clone(),
                Segment::Any => "**".into(),
                Segment::One => "*".into(),
            }),
        })
        .collect()
}

impl Templates {
    /// Adds one. `rivals` count the templates of the document from 0, in the order of adding.
    pub fn add(&mut self, method: &Method, parts: Vec<Part>, number: usize, rivals: &[usize]) {
        let mut node = self.tables.entry(method.clone()).or_default();
        for part in &parts {
            node = node.child(part);
        }
        node.number = Some(number);
        // Each pair is known once its second is added.
        for rival in rivals {
            if let Some((other, theirs)) = self.added.get(*rival) {
                self.rivals.entry(number).or_default().push(theirs.clone());
                self.rivals.entry(*other).or_default().push(parts.clone());
            }
        }
        self.added.push((number, parts));
    }

    /// The number of the most concrete template that `path` belongs to. None where another has the same
    /// claim: two servers could take such a path for either.
    pub fn find(&self, method: &Method, path: &str) -> Option<usize> {
        let (number, is_disputed) = self.claim(method, path)?;
        (!is_disputed).then_some(number)
    }

    /// Whether `path` belongs to two templates, and so to none.
    pub fn is_disputed(&self, method: &Method, path: &str) -> bool {
        self.claim(method, path).is_some_and(|(_, is_disputed)| is_disputed)
    }

    /// The most concrete template that `path` belongs to, and whether another has the same claim.
    fn claim(&self, method: &Method, path: &str) -> Option<(usize, bool)> {
        let table = self.tables.get(method)?;
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let number = table.find(&segments)?;
        let mut rivals = self.rivals.get(&number).into_iter().flatten();
        Some((number, rivals.any(|parts| matches(parts, &segments))))
    }

    /// The methods that have `path`.
    pub fn methods_of<'t>(&'t self, path: &str) -> impl Iterator<Item = &'t Method> {
        self.tables.keys().filter(move |method| self.find(method, path).is_some())
    }

    /// Every method that a template has.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.tables.keys()
    }
}

impl Node {
    fn child(&mut self, part: &Part) -> &mut Self {
        match part {
            Part::Literal(text) => self.literals.entry(text.clone()).or_default(),
            Part::Parameter(parameter) => {
                let (_, node) = self
                    .parameters
                    .entry(Shape::of(parameter))
                    .or_insert_with(|| (parameter.clone(), Self::default()));
                node
            }
        }
    }

    fn find(&self, segments: &[&str]) -> Option<usize> {
        let Some((first, rest)) = segments.split_first() else { return self.number };
        let literal = self.literals.get(*first).and_then(|node| node.find(rest));
        literal.or_else(|| {
            let mut fitting =
                self.parameters.values().filter(|(one, _)| one.within(first).is_some());
            fitting.find_map(|(_, node)| node.find(rest))
        })
    }
}

fn matches(parts: &[Part], segments: &[&str]) -> bool {
    parts.len() == segments.len()
        && parts.iter().zip(segments).all(|(part, segment)| match part {
            Part::Literal(text) => **text == **segment,
            Part::Parameter(parameter) => parameter.within(segment).is_some(),
        })
}

/// How the paths of two templates lie to each other.
pub fn relation(one: &[Part], other: &[Part]) -> Relation {
    if one.len() != other.len() {
        return Relation::Disjoint;
    }
    let (mut narrower, mut wider, mut crossing) = (false, false, false);
    for (one, other) in one.iter().zip(other) {
        match between(one, other) {
            Relation::Disjoint => return Relation::Disjoint,
            Relation::Crossing => crossing = true,
            Relation::Narrower => narrower = true,
            Relation::Wider => wider = true,
            Relation::Same => {}
        }
    }
    match (crossing, narrower, wider) {
        (false, false, false) => Relation::Same,
        (false, true, false) => Relation::Narrower,
        (false, false, true) => Relation::Wider,
        (true, _, _) | (false, true, true) => Relation::Crossing,
    }
}

fn between(one: &Part, other: &Part) -> Relation {
    match (one, other) {
        (Part::Literal(one), Part::Literal(other)) if one == other => Relation::Same,
        (Part::Literal(_), Part::Literal(_)) => Relation::Disjoint,
        (Part::Literal(text), Part::Parameter(parameter)) => {
            if parameter.within(text).is_some() {
                Relation::Narrower
            } else {
                Relation::Disjoint
            }
        }
        (Part::Parameter(parameter), Part::Literal(text)) => {
            if parameter.within(text).is_some() {
                Relation::Wider
            } else {
                Relation::Disjoint
            }
        }
        (Part::Parameter(one), Part::Parameter(other)) => shapes(one, other),
    }
}

fn shapes(one: &Parameter, other: &Parameter) -> Relation {
    let ((prefix, suffix), (their_prefix, their_suffix)) = (one.around(), other.around());
    let is_within = |one: &Parameter, other: &Parameter| {
        let ((prefix, suffix), (outer_prefix, outer_suffix)) = (one.around(), other.around());
        let same = prefix == outer_prefix && suffix == outer_suffix;
        let inside = prefix.starts_with(outer_prefix) && suffix.ends_with(outer_suffix);
        if same { one.whole || !other.whole } else { inside && !other.whole }
    };
    let can_begin = prefix.starts_with(their_prefix) || their_prefix.starts_with(prefix);
    let can_end = suffix.ends_with(their_suffix) || their_suffix.ends_with(suffix);
    match (is_within(one, other), is_within(other, one)) {
        (true, true) => Relation::Same,
        (true, false) => Relation::Narrower,
        (false, true) => Relation::Wider,
        (false, false) if can_begin && can_end => Relation::Crossing,
        (false, false) => Relation::Disjoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::template;

    /// The parts of a template in which `{n}` and what begins with it is a whole number.
    fn parts_of(text: &str) -> Vec<Part> {
        let (pattern, mut parameters) = template::parse(text).unwrap();
        for parameter in &mut parameters {
            parameter.whole = parameter.name.starts_with('n');
        }
        parts(&pattern, &parameters)
    }

    fn templates(texts: &[&str]) -> Templates {
        let mut all = Templates::default();
        for (n, text) in texts.iter().enumerate() {
            let own = parts_of(text);
            let is_rival = |other: &&str| relation(&own, &parts_of(other)) == Relation::Crossing;
            let rivals: Vec<usize> = (0..n).filter(|other| is_rival(&texts[*other])).collect();
            all.add(&Method::GET, own, n, &rivals);
        }
        all
    }

    #[test]
    fn the_more_concrete_template_wins_in_any_order() {
        let texts = [
            "/pets/{x}",
            "/pets/mine",
            "/pets/{n}",
            "/pets/{x}.json",
            "/pets/{x}/toys/{n}",
            "/pets/mine/toys/{n}",
            "/",
        ];
        let mut reversed = texts;
        reversed.reverse();
        for (order, texts) in [texts, reversed].iter().enumerate() {
            let all = templates(texts);
            for (path, expected) in [
                ("/pets/mine", Some("/pets/mine")),
                ("/pets/7", Some("/pets/{n}")),
                ("/pets/-7", Some("/pets/{n}")),
                ("/pets/rex", Some("/pets/{x}")),
                ("/pets/rex.json", Some("/pets/{x}.json")),
                ("/pets/.json", Some("/pets/{x}")),
                ("/pets/mine/toys/1", Some("/pets/mine/toys/{n}")),
                ("/pets/rex/toys/1", Some("/pets/{x}/toys/{n}")),
                ("/pets/rex/toys/ball", None),
                ("/pets/", None),
                ("/pets", None),
                ("/", Some("/")),
                ("", None),
            ] {
                let found = all.find(&Method::GET, path).map(|n| texts[n]);
                assert_eq!(found, expected, "{path} in order {order}");
            }
            assert_eq!(all.find(&Method::POST, "/pets/mine"), None);
        }
    }

    #[test]
    fn the_relation_of_two_templates_is_that_of_their_paths() {
        for (one, other, expected) in [
            ("/a/{x}", "/a/{y}", Relation::Same),
            ("/a/b", "/a/{y}", Relation::Narrower),
            ("/a/{x}", "/a/b", Relation::Wider),
            ("/a/{x}", "/b/{x}", Relation::Disjoint),
            ("/a/{x}", "/a/{x}/", Relation::Disjoint),
            ("/{x}/b", "/a/{y}", Relation::Crossing),
            ("/{n}/b", "/a/{y}", Relation::Disjoint),
            ("/{n}", "/{x}", Relation::Narrower),
            ("/{n}/{x}", "/{x}/{n}", Relation::Crossing),
            ("/a{x}", "/{y}", Relation::Narrower),
            ("/a{x}", "/{y}b", Relation::Crossing),
            ("/a{x}", "/b{y}", Relation::Disjoint),
            ("/{x}:go", "/{y}:stop", Relation::Disjoint),
        ] {
            assert_eq!(relation(&parts_of(one), &parts_of(other)), expected, "{one} {other}");
        }
    }

    #[test]
    fn ten_thousand_templates_are_told_apart() {
        let mut all = Templates::default();
        for n in 0..10_000 {
            let text = format!("/v1/r{}/{{x}}/s{}/{{n}}", n / 100, n % 100);
            all.add(&Method::GET, parts_of(&text), n, &[]);
        }
        for n in 0..10_000 {
            let path = format!("/v1/r{}/any/s{}/7", n / 100, n % 100);
            assert_eq!(all.find(&Method::GET, &path), Some(n), "{path}");
        }
        assert_eq!(all.find(&Method::GET, "/v1/r99/any/s100/7"), None);
    }

    #[test]
    fn a_path_that_two_templates_claim_belongs_to_neither() {
        let all = templates(&["/s/secrets/{x}", "/s/{space}/machines", "/s/{space}/exports"]);
        assert_eq!(all.find(&Method::GET, "/s/secrets/a"), Some(0));
        assert_eq!(all.find(&Method::GET, "/s/a/machines"), Some(1));
        assert_eq!(all.find(&Method::GET, "/s/secrets/machines"), None);
        assert_eq!(all.find(&Method::GET, "/s/secrets/exports"), None);
    }
}
