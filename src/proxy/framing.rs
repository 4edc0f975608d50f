//! Where does each message of an HTTP/1 connection begin and end, and can that be read in exactly
//! one way? (RFC 9112, `verification.md` stage A1.)
//!
//! A pure state machine that follows the bytes in front of the HTTP library. What it does not
//! understand strictly is refused here, so that no reader behind it has anything left to interpret.

use http::Uri;

use crate::model::reason::Reason;

/// The bounds of one head, and of one trailer section.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes from the first of the request line to the end of the empty line.
    pub header_bytes: usize,
    /// Field lines.
    pub header_count: usize,
}

/// The reader of one connection's messages.
#[derive(Debug)]
pub struct Framing {
    bounds: Bounds,
    state: State,
    head: Head,
    /// Bytes of the current section that are checked, and of those after them, how many hold no LF.
    checked: usize,
    searched: usize,
    lines: usize,
    /// Bytes of the trailer section that were already released.
    trailer: usize,
    heads: u64,
}

/// How far the bytes may go on, and what comes then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So many bytes from the start are whole and well formed.
    pub release: usize,
    /// What holds for the bytes after those.
    pub next: Next,
}

/// What holds for the bytes that are not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// They are the beginning of something; more must come.
    More,
    /// They follow a request for another protocol, and wait for the answer to it.
    Held,
    /// They are a head that is refused.
    RefusedHead(Reason),
    /// They are a body that is refused; its head was released before.
    RefusedBody(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Held,
    Transparent,
    Refused(Next),
}

/// What the fields of the head said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    old: bool,
    switches: bool,
    host: bool,
    chunked: bool,
    length: Option<u64>,
}

enum Step {
    Took(usize),
    Wait,
}

/// A target or a name above this cannot be held by the `http` types.
const LONGEST_PART: usize = 0x7fff;

/// The longest body that the HTTP library can count.
const LONGEST_BODY: u64 = u64::MAX - 2;

/// Sixteen digits and CRLF.
const LONGEST_SIZE_LINE: usize = 18;

impl Framing {
    /// Begins before the first head.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: State::Head,
            head: Head::default(),
            checked: 0,
            searched: 0,
            lines: 0,
            trailer: 0,
            heads: 0,
        }
    }

    /// Reads on. `bytes` begins with those that the last call did not release.
    pub fn scan(&mut self, bytes: &[u8]) -> Progress {
        let mut release = 0_usize;
        loop {
            let rest = bytes.get(release..).unwrap_or_default();
            match self.step(rest) {
                Ok(Step::Took(count)) => release = release.saturating_add(count),
                Ok(Step::Wait) => return Progress { release, next: self.next() },
                Err(reason) => {
                    let next = match self.state {
                        State::Head => Next::RefusedHead(reason),
                        _ => Next::RefusedBody(reason),
                    };
                    self.state = State::Refused(next);
                    return Progress { release, next };
                }
            }
        }
    }

    /// How many heads were released.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte is the first of a head.
    pub fn is_between_messages(&self) -> bool {
        self.state == State::Head
    }

    /// The request for another protocol was declined: the next bytes are a head.
    pub fn resume_http(&mut self) {
        if self.state == State::Held {
            self.begin(State::Head);
        }
    }

    /// The request for another protocol was granted: what follows is not HTTP.
    pub fn become_transparent(&mut self) {
        if self.state == State::Held {
            self.state = State::Transparent;
        }
    }

    fn next(&self) -> Next {
        match self.state {
            State::Held => Next::Held,
            State::Refused(next) => next,
            _ => Next::More,
        }
    }

    fn step(&mut self, rest: &[u8]) -> Result<Step, Reason> {
        if rest.is_empty() {
            return Ok(Step::Wait);
        }
        match self.state {
            State::Head => self.head(rest),
            State::Length(left) => {
                let (count, left) = take(rest, left);
                if left == 0 {
                    self.message_ended();
                } else {
                    self.state = State::Length(left);
                }
                Ok(Step::Took(count))
            }
            State::ChunkSize => self.chunk_size(rest),
            State::ChunkData(left) => {
                let (count, left) = take(rest, left);
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                Ok(Step::Took(count))
            }
            State::ChunkEnd => match rest {
                [b'\r'] => Ok(Step::Wait),
                [b'\r', b'\n', ..] => {
                    self.begin(State::ChunkSize);
                    Ok(Step::Took(2))
                }
                _ => Err(Reason::HttpMalformed),
            },
            State::Trailers => self.trailers(rest),
            State::Transparent => Ok(Step::Took(rest.len())),
            State::Held | State::Refused(_) => Ok(Step::Wait),
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.checked = 0;
        self.searched = 0;
        self.lines = 0;
        self.trailer = 0;
        self.head = Head::default();
    }

    fn message_ended(&mut self) {
        let next = if self.head.switches { State::Held } else { State::Head };
        self.begin(next);
    }

    /// Releases a head when it is whole: nothing of one that may yet be refused goes further.
    fn head(&mut self, rest: &[u8]) -> Result<Step, Reason> {
        // Another protocol's greeting is told apart at its first byte instead of by a timeout.
        if !rest.first().is_some_and(|byte| is_token(*byte)) {
            return Err(Reason::HttpMalformed);
        }
        while let Some(line) = self.line(rest, self.bounds.header_bytes)? {
            if self.lines == 0 {
                self.head = request_line(line)?;
            } else if line.is_empty() {
                self.head.check()?;
                let count = self.checked;
                self.heads = self.heads.saturating_add(1);
                self.body_begins();
                return Ok(Step::Took(count));
            } else {
                self.counted()?;
                self.head.field(line)?;
            }
            self.lines = self.lines.saturating_add(1);
        }
        Ok(Step::Wait)
    }

    fn body_begins(&mut self) {
        let head = self.head;
        match head.length {
            _ if head.chunked => self.begin(State::ChunkSize),
            Some(length) if length > 0 => self.begin(State::Length(length)),
            _ => self.begin(State::Head),
        }
        self.head.switches = head.switches;
        if self.state == State::Head {
            self.message_ended();
        }
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<Step, Reason> {
        let Some(line) = self.line(rest, LONGEST_SIZE_LINE)? else { return Ok(Step::Wait) };
        if line.is_empty() || line.len() > 16 {
            return Err(Reason::HttpMalformed);
        }
        let mut size = 0_u64;
        for byte in line {
            let digit = char::from(*byte).to_digit(16).ok_or(Reason::HttpMalformed)?;
            size = (size << 4) | u64::from(digit);
        }
        let (count, switches) = (self.checked, self.head.switches);
        self.begin(if size == 0 { State::Trailers } else { State::ChunkData(size) });
        self.head.switches = switches;
        Ok(Step::Took(count))
    }

    fn trailers(&mut self, rest: &[u8]) -> Result<Step, Reason> {
        let bound = self.bounds.header_bytes.saturating_sub(self.trailer);
        let Some(line) = self.line(rest, bound)? else { return Ok(Step::Wait) };
        let count = self.checked;
        if line.is_empty() {
            self.message_ended();
            return Ok(Step::Took(count));
        }
        self.lines = self.lines.saturating_add(1);
        self.counted()?;
        let (name, _) = field(line)?;
        // RFC 9110 §6.5.1: what frames or routes a message cannot come after it.
        if !matches!(Deciding::of(name), Deciding::Nothing) {
            return Err(Reason::HttpMalformed);
        }
        self.trailer = self.trailer.saturating_add(count);
        self.checked = 0;
        self.searched = 0;
        Ok(Step::Took(count))
    }

    fn counted(&self) -> Result<(), Reason> {
        if self.lines > self.bounds.header_count {
            return Err(Reason::HeaderTooLarge);
        }
        Ok(())
    }

    /// The next line without its CRLF, when it is whole. Each byte is searched once, however slowly
    /// the bytes come.
    fn line<'a>(&mut self, section: &'a [u8], bound: usize) -> Result<Option<&'a [u8]>, Reason> {
        let known = self.checked.saturating_add(self.searched);
        let window = section.get(..section.len().min(bound)).unwrap_or_default();
        let unknown = window.get(known..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', unknown) else {
            if section.len() >= bound {
                return Err(self.too_long());
            }
            self.searched = self.searched.saturating_add(unknown.len());
            return Ok(None);
        };
        let end = known.saturating_add(found);
        let line = section.get(self.checked..end).unwrap_or_default();
        self.checked = end.saturating_add(1);
        self.searched = 0;
        line.strip_suffix(b"\r").map(Some).ok_or(Reason::HttpMalformed)
    }

    fn too_long(&self) -> Reason {
        if self.state == State::ChunkSize { Reason::HttpMalformed } else { Reason::HeaderTooLarge }
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), Reason> {
        let (name, value) = field(line)?;
        match Deciding::of(name) {
            Deciding::Nothing => {}
            Deciding::Host => once(&mut self.host)?,
            Deciding::Length => {
                if self.length.replace(length(value)?).is_some() {
                    return Err(Reason::HttpMalformed);
                }
            }
            Deciding::Encoding => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reason::HttpMalformed);
                }
                once(&mut self.chunked)?;
            }
            Deciding::Upgrade => self.switches = true,
        }
        Ok(())
    }

    /// RFC 9112 §3.2 and §6.3: one `Host`, one way to find the end of the body.
    fn check(&self) -> Result<(), Reason> {
        let framed_twice = self.chunked && self.length.is_some();
        let framed_too_early = self.chunked && self.old;
        let nowhere = !self.host && !self.old;
        if framed_twice || framed_too_early || nowhere {
            return Err(Reason::HttpMalformed);
        }
        Ok(())
    }
}

/// The fields that decide where a message ends or goes.
enum Deciding {
    Nothing,
    Host,
    Length,
    Encoding,
    Upgrade,
}

impl Deciding {
    fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            7 if name.eq_ignore_ascii_case(b"upgrade") => Self::Upgrade,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::Length,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::Encoding,
            _ => Self::Nothing,
        }
    }
}

fn once(seen: &mut bool) -> Result<(), Reason> {
    if *seen {
        return Err(Reason::HttpMalformed);
    }
    *seen = true;
    Ok(())
}

fn request_line(line: &[u8]) -> Result<Head, Reason> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::HttpMalformed);
    };
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Reason::HttpMalformed),
    };
    if target.len() > LONGEST_PART || method.len() > LONGEST_PART {
        return Err(Reason::HeaderTooLarge);
    }
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Reason::HttpMalformed);
    }
    let connect = method == b"CONNECT";
    if !is_target(target, method == b"OPTIONS", connect) {
        return Err(Reason::HttpMalformed);
    }
    Ok(Head { old, switches: connect, ..Head::default() })
}

/// RFC 9112 §3.2: origin-form, absolute-form, and the other two only with their methods.
fn is_target(target: &[u8], options: bool, connect: bool) -> bool {
    if !target.iter().all(|byte| class(*byte) & TARGET != 0) {
        return false;
    }
    match target.first() {
        Some(b'/') => !connect,
        Some(b'*') => options && target.len() == 1,
        Some(_) => Uri::try_from(target)
            .is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_some() != connect),
        None => false,
    }
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "without an early end the compiler can look at many bytes at once"
)]
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let colon = line
        .iter()
        .position(|byte| !is_token(*byte))
        .filter(|at| *at > 0 && line.get(*at) == Some(&b':'))
        .ok_or(Reason::HttpMalformed)?;
    let (name, value) = line.split_at(colon);
    if name.len() > LONGEST_PART {
        return Err(Reason::HeaderTooLarge);
    }
    let value = value.get(1..).unwrap_or_default();
    let wrong = value
        .iter()
        .fold(false, |wrong, byte| wrong | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    if wrong { Err(Reason::HttpMalformed) } else { Ok((name, trim(value))) }
}

/// Optional white space is SP and HTAB, and nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits alone: no sign, no list, nothing that does not fit.
fn length(value: &[u8]) -> Result<u64, Reason> {
    if value.is_empty() {
        return Err(Reason::HttpMalformed);
    }
    value
        .iter()
        .try_fold(0_u64, |length, byte| {
            let digit = char::from(*byte).to_digit(10)?;
            length.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .filter(|length| *length <= LONGEST_BODY)
        .ok_or(Reason::HttpMalformed)
}

fn take(rest: &[u8], left: u64) -> (usize, u64) {
    let count = usize::try_from(left).map_or(rest.len(), |left| rest.len().min(left));
    (count, left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)))
}

fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// RFC 9110 §5.6.2.
const TOKEN: u8 = 1;
/// RFC 3986, and the brackets that browsers leave bare in a query. No `#`: a fragment is never sent.
const TARGET: u8 = 2;

static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "computed at compile time, where a wrong index is a build error"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = TOKEN | TARGET;
        }
        byte += 1;
    }
    let mut at = 0;
    let token = b"!#$%&'*+-.^_`|~";
    while at < token.len() {
        table[token[at] as usize] |= TOKEN;
        at += 1;
    }
    at = 0;
    let target = b"-._~!$&'()*+,;=:@/?%[]";
    while at < target.len() {
        table[target[at] as usize] |= TARGET;
        at += 1;
    }
    table
}

#[cfg(test)]
pub(crate) mod tests;
