//! A reader of JSON that stands on a byte and walks forward once: tokens, strings, and skipping a whole value.

use super::types::Refusal;

/// JSON nesting that [`Cursor::skip`] follows. An item at `DynamoDB`'s limit of 32 levels takes 66.
const DEEPEST: u32 = 256;

/// Where a reader stands in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// A JSON string, checked: what stands between its quotes, and how long it is once decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// The bytes between the quotes: UTF-8 with escapes.
    pub(super) raw: &'a [u8],
    /// True when `raw` holds escapes.
    pub(super) escaped: bool,
    /// Bytes of the decoded UTF-8.
    pub(super) len: usize,
    /// Where `raw` begins in the whole text.
    pub(super) start: usize,
}

impl<'a> Text<'a> {
    /// The decoded UTF-8: the bytes themselves, or written to `scratch` when there are escapes.
    pub(super) fn decoded<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if !self.escaped {
            return self.raw;
        }
        scratch.clear();
        scratch.reserve(self.len);
        let mut rest = self.raw;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            scratch.extend_from_slice(&rest[..at]);
            let (decoded, used) = unescape(&rest[at..]).unwrap_or(('\u{fffd}', 1));
            scratch.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + used..];
        }
        scratch.extend_from_slice(rest);
        scratch
    }

    /// The decoded text for an error or a name, cut at 200 characters.
    pub(super) fn shown(&self) -> String {
        let mut scratch = Vec::new();
        String::from_utf8_lossy(self.decoded(&mut scratch)).chars().take(200).collect()
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is no whitespace, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Takes `byte`, which must be next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.take(byte) { Ok(()) } else { Err(self.wanted(&format!("'{}'", char::from(byte)))) }
    }

    /// After an element: true when another follows, false when `close` ended it.
    #[inline]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Refusal> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wanted(&format!("',' or '{}'", char::from(close)))),
        }
    }

    /// Nothing but whitespace may be left.
    pub(super) fn end(&mut self) -> Result<(), Refusal> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wanted("the end")) }
    }

    /// What was wanted here and what is here instead.
    #[cold]
    pub(super) fn wanted(&self, what: &str) -> Refusal {
        match self.bytes.get(self.at) {
            None => Refusal::NotJson(format!("it ends at byte {} where {what} was expected", self.at)),
            Some(byte) => Refusal::NotJson(format!(
                "'{}' at byte {} where {what} was expected",
                char::from(*byte).escape_default(),
                self.at
            )),
        }
    }

    /// A string, with its escapes and its UTF-8 checked.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, Refusal> {
        self.expect(b'"')?;
        let start = self.at;
        let (mut high, mut saved) = (0, 0);
        loop {
            self.at += plain_run(&self.bytes[self.at..], &mut high);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let Some((decoded, used)) = unescape(&self.bytes[self.at..]) else {
                        return Err(Refusal::NotJson(format!("a broken escape at byte {}", self.at)));
                    };
                    saved += used - decoded.len_utf8();
                    self.at += used;
                }
                Some(byte) => {
                    return Err(Refusal::NotJson(format!(
                        "a control character ({byte:#04x}) in a string at byte {}",
                        self.at
                    )));
                }
                None => return Err(self.wanted("the end of a string")),
            }
        }
        let raw = &self.bytes[start..self.at];
        if high != 0
            && let Err(error) = std::str::from_utf8(raw)
        {
            return Err(Refusal::NotJson(format!("not UTF-8 at byte {}", start + error.valid_up_to())));
        }
        self.at += 1;
        Ok(Text { raw, escaped: saved > 0, len: raw.len() - saved, start })
    }

    /// Takes `word`, which must be next.
    pub(super) fn word(&mut self, word: &str) -> Result<(), Refusal> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.wanted(word))
        }
    }

    /// `true` or `false`; `None` when something else is next.
    pub(super) fn boolean(&mut self) -> Result<Option<bool>, Refusal> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| Some(true)),
            Some(b'f') => self.word("false").map(|()| Some(false)),
            _ => Ok(None),
        }
    }

    /// Walks over one value of any kind, checking that it is JSON.
    pub(super) fn skip(&mut self) -> Result<(), Refusal> {
        self.skip_below(DEEPEST)
    }

    fn skip_below(&mut self, levels: u32) -> Result<(), Refusal> {
        let Some(deeper) = levels.checked_sub(1) else {
            return Err(Refusal::NotJson(format!("nested over {DEEPEST} levels at byte {}", self.at)));
        };
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.peek();
                    self.string()?;
                    self.expect(b':')?;
                    self.skip_below(deeper)?;
                    if !self.another(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_below(deeper)?;
                    if !self.another(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.wanted("a value")),
        }
    }

    fn skip_digits(&mut self) -> Result<(), Refusal> {
        let run = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += run;
        if run == 0 { Err(self.wanted("a digit")) } else { Ok(()) }
    }

    fn skip_number(&mut self) -> Result<(), Refusal> {
        let next = |cursor: &Self| cursor.bytes.get(cursor.at).copied();
        self.at += usize::from(next(self) == Some(b'-'));
        // JSON has no leading zeros.
        if next(self) == Some(b'0') {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if next(self) == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(next(self), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(next(self), Some(b'+' | b'-')));
            self.skip_digits()?;
        }
        Ok(())
    }
}

/// How many bytes from the start of `bytes` stand for themselves in a JSON string. Sets a bit of `high` when one of
/// them is not ASCII. Eight bytes a step: strings are most of an item.
#[inline]
fn plain_run(bytes: &[u8], high: &mut u64) -> usize {
    const fn eight(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    const ONES: u64 = eight(1);
    const TOPS: u64 = eight(0x80);
    // The lowest marked byte is always right; a borrow can only mark bytes above it.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, chunk) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero_bytes(word ^ eight(b'"'));
        let backslash = zero_bytes(word ^ eight(b'\\'));
        let control = word.wrapping_sub(eight(b' ')) & !word & TOPS;
        let stop = quote | backslash | control;
        if stop != 0 {
            let run = stop.trailing_zeros() / 8;
            *high |= word & TOPS & ((1u64 << (run * 8)) - 1);
            return index * 8 + run as usize;
        }
        *high |= word & TOPS;
    }
    let stands = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    let run = tail.iter().take_while(stands).inspect(|byte| *high |= u64::from(**byte & 0x80)).count();
    words.len() * 8 + run
}

/// The character that an escape at the start of `bytes` stands for, and the bytes it takes. `None` when it is broken,
/// a lone surrogate included.
fn unescape(bytes: &[u8]) -> Option<(char, usize)> {
    let simple = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex4(bytes.get(2..6)?)?;
            if let Some(character) = char::from_u32(first) {
                return Some((character, 6));
            }
            let [b'\\', b'u', low @ ..] = bytes.get(6..12)? else { return None };
            let second = hex4(low)?;
            if !(0xD800..0xDC00).contains(&first) || !(0xDC00..0xE000).contains(&second) {
                return None;
            }
            return char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).map(|c| (c, 12));
        }
        _ => return None,
    };
    Some((simple, 2))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |value, byte| Some(value * 16 + char::from(*byte).to_digit(16)?))
}

/// Appends `text` as a JSON string, in the one spelling that equal texts share.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_run(rest, &mut 0));
        out.extend_from_slice(plain);
        let [byte, tail @ ..] = special else { break };
        rest = tail;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            quote_or_backslash => out.extend_from_slice(&[b'\\', *quote_or_backslash]),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(json: &[u8]) -> Result<(), Refusal> {
        let mut cursor = Cursor::new(json);
        cursor.skip()?;
        cursor.end()
    }

    #[test]
    fn escapes_and_surrogate_pairs_decode_and_lone_surrogates_are_refused() {
        let json = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#;
        let text = Cursor::new(json.as_bytes()).string().unwrap();
        let mut scratch = Vec::new();
        let wanted: String = serde_json::from_str(json).unwrap();
        assert_eq!(text.decoded(&mut scratch), wanted.as_bytes());
        assert_eq!(text.len, wanted.len());
        for broken in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\u0041""#, r#""\u12g4""#, r#""\x""#, r#""\u+123""#]
        {
            assert!(whole(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_serde_json_reads_is_what_the_cursor_walks(bytes in proptest::collection::vec(
            proptest::sample::select(b"{}[]\",:\\u0019eE+-.truefalsn \nd83\xc3\xa9\x01".to_vec()), 0..24)) {
            let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
            // serde_json also refuses numbers that no f64 holds; the cursor knows no such limit.
            let out_of_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            prop_assert!(out_of_range || theirs.is_ok() == whole(&bytes).is_ok(), "{:?}", theirs);
        }

        #[test]
        fn a_string_is_what_serde_json_says_it_is(text in any::<String>(), tail in "[ a]{0,9}") {
            let json = serde_json::to_string(&text).unwrap();
            let input = format!("{json}{tail}");
            let mut cursor = Cursor::new(input.as_bytes());
            let read = cursor.string().unwrap();
            prop_assert_eq!(cursor.at, json.len());
            prop_assert_eq!(read.len, text.len());
            let mut scratch = Vec::new();
            prop_assert_eq!(read.decoded(&mut scratch), text.as_bytes());
            let mut written = Vec::new();
            write_string(&mut written, text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
