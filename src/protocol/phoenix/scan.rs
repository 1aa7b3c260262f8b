//! JSON, walked over and checked without being built.
//!
//! The scanner says where a value begins and ends, and objects to what is not JSON. Three things
//! that the grammar allows are refused besides, because nobody downstream could hold them: numbers
//! beyond a double, escapes that name half a surrogate pair, and nesting deeper than asked for.
//!
//! It keeps one bit for each open container, so neither its stack nor its memory grows with what a
//! client sends beyond an eighth of a byte a level.
//!
//! The steps are functions from what is left of the text to what is left behind the step, and
//! [`Scanner`] is for those who take several. That way the place stays in a register inside of
//! [`container`], where the time goes; as a field behind `&mut self` it costs a third more.

use super::Malformed;
use super::text::{MAX_FIELD_SIZE, plain_len};

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// What has not been stepped over.
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text.as_bytes() }
    }

    /// The place in `text` where only `rest` is left of it.
    pub(super) fn behind(text: &'a str, rest: &'a str) -> Self {
        Self { text, rest: rest.as_bytes() }
    }

    /// Steps over one value, in which containers may stand `max_depth` deep, and gives it without
    /// the white space around it.
    #[inline]
    pub(super) fn value(&mut self, max_depth: usize) -> Result<&'a str, Fault> {
        self.rest = skip_space(self.rest);
        let start = self.at();
        self.advance(match self.rest {
            [b'"', rest @ ..] => string(rest),
            [b'{' | b'[', ..] => container(self.rest, max_depth),
            rest => scalar(rest),
        })?;
        Ok(&self.text[start..self.at()])
    }

    /// Steps over a string and the colon behind it, and gives the string as it stands there.
    pub(super) fn key(&mut self) -> Result<&'a str, Fault> {
        self.expect(b'"')?;
        let start = self.at() - 1;
        self.advance(string(self.rest))?;
        let raw = &self.text[start..self.at()];
        self.expect(b':')?;
        Ok(raw)
    }

    /// Steps over white space and `byte`, which must come next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        self.advance(expect(self.rest, byte))
    }

    /// Steps over white space, and over `byte` if that comes next.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        self.expect(byte).is_ok()
    }

    /// Objects to anything but white space up to the end.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.rest = skip_space(self.rest);
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Unexpected) }
    }

    /// The error for a fault that this scanner has just found.
    #[cold]
    pub(super) fn malformed(&self, fault: Fault) -> Malformed {
        let at = self.at();
        match fault {
            Fault::Unexpected => Malformed::Unexpected { at },
            Fault::TooDeep => Malformed::TooDeep { at },
            Fault::NumberOutOfRange => Malformed::NumberOutOfRange { at },
            Fault::LoneSurrogate => Malformed::LoneSurrogate { at },
            Fault::FieldTooLong => Malformed::FieldTooLong { at, max: MAX_FIELD_SIZE },
        }
    }

    #[inline]
    fn advance(&mut self, step: Step<'a>) -> Result<(), Fault> {
        let (rest, result) = match step {
            Ok(rest) => (rest, Ok(())),
            Err((fault, rest)) => (rest, Err(fault)),
        };
        self.rest = rest;
        result
    }

    #[inline]
    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }
}

/// What there is to object to. [`Scanner::malformed`] says it in full.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Unexpected,
    TooDeep,
    NumberOutOfRange,
    LoneSurrogate,
    /// Of whoever uses the scanner: what it has just passed is longer than it may be there.
    FieldTooLong,
}

/// What is left behind a step.
type Step<'a> = Result<&'a [u8], Stop<'a>>;

/// A fault, and what is left where it was found.
type Stop<'a> = (Fault, &'a [u8]);

/// Steps over an object or a list and all that is in it.
fn container(mut rest: &[u8], max_depth: usize) -> Step<'_> {
    let mut open = Containers::default();
    loop {
        // A value begins here. One that is a container, and not an empty one, is opened and its
        // first value comes next; any other is behind us afterwards.
        rest = match rest {
            [b'"', after @ ..] => string(after)?,
            [bracket @ (b'{' | b'['), after @ ..] => {
                if open.depth == max_depth {
                    return Err((Fault::TooDeep, rest));
                }
                let object = *bracket == b'{';
                match expect(after, closing(object)) {
                    Ok(after) => after,
                    Err((_, first)) => {
                        open.push(object);
                        rest = begin_value(first, object)?;
                        continue;
                    }
                }
            }
            _ => scalar(rest)?,
        };
        // What may follow a value depends on what it stands in.
        loop {
            let Some(object) = open.innermost() else { return Ok(rest) };
            rest = skip_space(rest);
            match rest {
                [b',', after @ ..] => {
                    rest = begin_value(skip_space(after), object)?;
                    break;
                }
                [byte, after @ ..] if *byte == closing(object) => {
                    rest = after;
                    open.pop();
                }
                _ => return Err((Fault::Unexpected, rest)),
            }
        }
    }
}

/// Steps over what precedes a value in an object or a list.
#[inline(always)]
fn begin_value(rest: &[u8], object: bool) -> Step<'_> {
    if !object {
        return Ok(rest);
    }
    let [b'"', key @ ..] = rest else { return Err((Fault::Unexpected, rest)) };
    expect(string(key)?, b':').map(skip_space)
}

/// Steps over a string of which the first quote is behind us.
#[inline(always)]
fn string(rest: &[u8]) -> Step<'_> {
    let rest = &rest[plain_len(rest)..];
    match rest {
        [b'"', rest @ ..] => Ok(rest),
        _ => rest_of_string(rest),
    }
}

/// Steps over what is left of a string from its first escape on.
#[cold]
fn rest_of_string(mut rest: &[u8]) -> Step<'_> {
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', ..] => escape(rest)?,
            _ => return Err((Fault::Unexpected, rest)),
        };
        rest = &rest[plain_len(rest)..];
    }
}

fn escape(start: &[u8]) -> Step<'_> {
    let rest = match &start[1..] {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => return Ok(rest),
        [b'u', rest @ ..] => rest,
        rest => return Err((Fault::Unexpected, rest)),
    };
    let (unit, rest) = code_unit(rest)?;
    match (unit, rest) {
        (0xD800..=0xDBFF, [b'\\', b'u', rest @ ..]) => match code_unit(rest)? {
            (0xDC00..=0xDFFF, rest) => Ok(rest),
            _ => Err((Fault::LoneSurrogate, start)),
        },
        (0xD800..=0xDFFF, _) => Err((Fault::LoneSurrogate, start)),
        _ => Ok(rest),
    }
}

/// Reads four hexadecimal digits.
fn code_unit(mut rest: &[u8]) -> Result<(u16, &[u8]), Stop<'_>> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = rest.first().and_then(|byte| char::from(*byte).to_digit(16));
        let digit = digit.ok_or((Fault::Unexpected, rest))?;
        unit = unit << 4 | digit as u16;
        rest = &rest[1..];
    }
    Ok((unit, rest))
}

/// Steps over a number, `true`, `false` or `null`.
#[inline(always)]
fn scalar(rest: &[u8]) -> Step<'_> {
    match rest {
        [b'-' | b'0'..=b'9', ..] => number(rest),
        [b'n', b'u', b'l', b'l', rest @ ..] => Ok(rest),
        [b't', b'r', b'u', b'e', rest @ ..] => Ok(rest),
        [b'f', b'a', b'l', b's', b'e', rest @ ..] => Ok(rest),
        _ => Err((Fault::Unexpected, rest)),
    }
}

fn number(start: &[u8]) -> Step<'_> {
    let whole = if let [b'-', rest @ ..] = start { rest } else { start };
    let mut rest = if let [b'0', rest @ ..] = whole { rest } else { digits(whole)? };
    let mut near_the_limit = whole.len() - rest.len() > f64::MAX_10_EXP as usize;
    if let [b'.', fraction @ ..] = rest {
        rest = digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = digits(if let [b'+' | b'-', digits @ ..] = exponent { digits } else { exponent })?;
        near_the_limit = true;
    }
    // Without an exponent it takes 309 digits to leave the range of a double.
    if near_the_limit {
        let number = str::from_utf8(&start[..start.len() - rest.len()]);
        let number = number.ok().and_then(|number| number.parse().ok());
        if !number.is_some_and(f64::is_finite) {
            return Err((Fault::NumberOutOfRange, start));
        }
    }
    Ok(rest)
}

/// Steps over one digit or more.
#[inline(always)]
fn digits(mut rest: &[u8]) -> Step<'_> {
    let [b'0'..=b'9', ..] = rest else { return Err((Fault::Unexpected, rest)) };
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    Ok(rest)
}

/// Steps over white space and `byte`, which must come next.
#[inline(always)]
fn expect(rest: &[u8], byte: u8) -> Step<'_> {
    match skip_space(rest) {
        [first, rest @ ..] if *first == byte => Ok(rest),
        rest => Err((Fault::Unexpected, rest)),
    }
}

#[inline(always)]
fn skip_space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// The containers that a value stands in, innermost last: a bit each, set for an object.
#[derive(Default)]
struct Containers {
    depth: usize,
    /// The innermost 64 at most; the last one is the lowest bit.
    inner: u64,
    /// Those further out, 64 a word. Messages that anybody means never need one.
    outer: Vec<u64>,
}

impl Containers {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.inner >>= 1;
        self.depth -= 1;
        if self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost one is an object; `None` if there is none.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.inner & 1 == 1)
    }
}

fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the scanner says of a text that is to be one value.
    fn scan(text: &str) -> Result<&str, Malformed> {
        scan_deep(text, 4)
    }

    fn scan_deep(text: &str, max_depth: usize) -> Result<&str, Malformed> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value(max_depth).map_err(|fault| scanner.malformed(fault))?;
        scanner.end().map_err(|fault| scanner.malformed(fault))?;
        Ok(value)
    }

    #[test]
    fn a_value_is_cut_out_of_the_space_around_it() {
        for value in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "10",
            "-1.5",
            "1e5",
            "1E-5",
            "2.25e+10",
            "\"\"",
            "\"plain\"",
            "\"é 漢 🐦 \u{7f}\"",
            r#""\" \\ \/ \b \f \n \r \t \u00e9 \uD83D\uDC26""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,2]",
            "[ [ ] , { } , [ { } ] ]",
            r#"{"a":1,"a":{"b":[null, "]}"]}}"#,
        ] {
            assert_eq!(scan(value), Ok(value));
            assert_eq!(scan(&format!(" \t\r\n{value}\n ")), Ok(value));
        }
    }

    #[test]
    fn what_is_not_json_is_unexpected_where_it_stops_being_so() {
        for (text, at) in [
            ("", 0),
            ("  ", 2),
            ("nul", 0),
            ("nulll", 4),
            ("True", 0),
            ("01", 1),
            ("-", 1),
            ("+1", 0),
            (".5", 0),
            ("1.", 2),
            ("1.e5", 2),
            ("1e", 2),
            ("1e+", 3),
            ("0x10", 1),
            ("NaN", 0),
            ("\"", 1),
            ("\"a", 2),
            ("\"\u{1f}\"", 1),
            ("\"12345678\n\"", 9),
            (r#""\"#, 2),
            (r#""\x""#, 2),
            (r#""\u12g4""#, 5),
            (r#""\u12"#, 5),
            ("[", 1),
            ("[1", 2),
            ("[1,", 3),
            ("[1,]", 3),
            ("[,1]", 1),
            ("[1 2]", 3),
            ("[1}", 2),
            ("{]", 1),
            ("{1:2}", 1),
            (r#"{"a"}"#, 4),
            (r#"{"a":}"#, 5),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":1 "b":2}"#, 7),
            ("[]]", 2),
            ("1 2", 2),
            ("'a'", 0),
            ("\u{feff}1", 0),
            ("[/**/]", 1),
        ] {
            assert_eq!(scan(text), Err(Malformed::Unexpected { at }), "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800x""#,
            r#""\ud800\n""#,
            r#""\udbff\u0041""#,
            r#""\udfff\ud800""#,
        ] {
            assert_eq!(scan(text), Err(Malformed::LoneSurrogate { at: 1 }), "{text}");
        }
        assert!(scan(r#""\ud800\udc00\udbff\udfff""#).is_ok());
    }

    #[test]
    fn numbers_fit_a_double() {
        let nines = |count| "9".repeat(count);
        for number in [
            "1e308",
            "-1.7976931348623157e308",
            "1e-999999999999999999999",
            "0e999999999999999999999",
            "0.00001e312",
            &nines(308),
            &format!("{}.{}", nines(308), nines(1000)),
        ] {
            assert_eq!(scan(number), Ok(number));
        }
        for number in ["1e309", "-1e309", "1e99999999999999999999", "1000e306", &nines(309)] {
            assert_eq!(scan(number), Err(Malformed::NumberOutOfRange { at: 0 }), "{number}");
        }
    }

    #[test]
    fn containers_stand_as_deep_as_is_allowed_and_no_deeper() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for max_depth in [0, 1, 63, 64, 65, 128, 129, 1000] {
            let scan = |depth| scan_deep(&nested(depth), max_depth).map(drop);
            assert_eq!(scan(max_depth), Ok(()));
            assert_eq!(scan(max_depth + 1), Err(Malformed::TooDeep { at: max_depth }));
        }
    }

    #[test]
    fn brackets_are_matched_at_every_depth() {
        // Objects and lists in turn with a hole in the pattern, so that a shifted bit shows.
        let object = |level: usize| level.is_multiple_of(2) || level.is_multiple_of(7);
        let open: String = (0..200).map(|n| if object(n) { "{\"k\":" } else { "[" }).collect();
        let close = |wrong| -> String {
            let bracket = |n| if object(n) ^ (wrong == Some(n)) { '}' } else { ']' };
            (0..200).rev().map(bracket).collect()
        };
        let scan = |text: String| scan_deep(&text, 200).map(drop);
        assert_eq!(scan(format!("{open}1{}", close(None))), Ok(()));
        for wrong in 0..200 {
            let at = open.len() + 1 + (199 - wrong);
            let text = format!("{open}1{}", close(Some(wrong)));
            assert_eq!(scan(text), Err(Malformed::Unexpected { at }));
        }
    }
}
