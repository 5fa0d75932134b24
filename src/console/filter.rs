//! What is typed after `/`: which rows a list shows. One language for all lists; each list says which columns it has.
//!
//! ```text
//! quotes !test "two words"     words: all must be there, ! must not; upper and lower case are the same
//! size>1gb used>80% lag>=1m    columns: > >= < <= = !=, with units; * in a text stands for anything
//! \!x a\>b                     \ takes the next character as it is
//! ```

use std::borrow::Cow;

use super::chord::nearest;

/// What the values of a column are, and so how they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Words,
    /// A number: `1000`, `1k`, `2.5m`.
    Count,
    /// Bytes: `1gb`, `512kib`.
    Bytes,
    /// Percent: `80%`.
    Percent,
    /// A length of time, ms: `90s`, `5m`, `2h`.
    Duration,
    /// A moment, ms since epoch: sorted by, never compared with.
    Moment,
}

/// A column of a list: what it is sorted by and filtered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it is typed.
    pub name: &'static str,
    /// Other names for it.
    pub also: &'static [&'static str],
    /// What its values are.
    pub kind: Kind,
    /// The header of its column on screen; empty where it has none: such a field can't be sorted by.
    pub title: &'static str,
    /// The field that is meant where a percentage is typed.
    pub as_share: Option<&'static str>,
}

impl Field {
    /// A column on screen.
    pub const fn new(name: &'static str, kind: Kind, title: &'static str) -> Self {
        Self { name, also: &[], kind, title, as_share: None }
    }

    /// The same with other names.
    pub const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// The same with a field for percentages.
    pub const fn as_share(self, share: &'static str) -> Self {
        Self { as_share: Some(share), ..self }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.also.contains(&name)
    }
}

/// What a row has in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Several, each of which counts.
    Texts(Vec<Cow<'a, str>>),
    /// A number in the unit of its kind.
    Number(f64),
    /// It has none.
    Nothing,
    /// It is not known yet.
    Unknown,
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A number, where there is one.
    pub fn number(number: Option<f64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }
}

/// A row of a list.
pub trait Row {
    /// What words are looked for in.
    fn text(&self) -> Cow<'_, str>;
    /// The same in lower case.
    fn lower(&self) -> Cow<'_, str> {
        self.text().to_lowercase().into()
    }
    /// What it has in the field of that name.
    fn value(&self, field: &str) -> Value<'_>;
}

/// Whether a row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// That depends on what is not known yet.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
    Is,
    IsNot,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    /// Lower case, with `*` for anything.
    Pattern(String),
    Number(f64),
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// Lower case.
    Word(String),
    Compared(&'static str, Operator, Literal),
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    not: bool,
    what: What,
}

/// Which rows are shown: all terms must agree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

impl Filter {
    /// Whether `row` is shown.
    pub fn verdict(&self, row: &impl Row) -> Verdict {
        let mut verdict = Verdict::Yes;
        let mut text: Option<Cow<'_, str>> = None;
        for term in &self.terms {
            let agrees = match &term.what {
                What::Word(word) => Some(text.get_or_insert_with(|| row.lower()).contains(word.as_str())),
                What::Compared(field, operator, literal) => compare(&row.value(field), *operator, literal),
            };
            match agrees {
                Some(agrees) if agrees == term.not => return Verdict::No,
                Some(_) => {}
                None => verdict = Verdict::Unknown,
            }
        }
        verdict
    }

    /// True when it compares the field of that name.
    pub fn compares(&self, name: &str) -> bool {
        self.terms.iter().any(|term| matches!(&term.what, What::Compared(field, ..) if *field == name))
    }

    /// True when it compares other fields than those.
    pub fn compares_more_than(&self, names: &[&str]) -> bool {
        self.terms.iter().any(|term| matches!(&term.what, What::Compared(field, ..) if !names.contains(field)))
    }
}

fn compare(value: &Value<'_>, operator: Operator, literal: &Literal) -> Option<bool> {
    let is_one_of =
        |texts: &[Cow<'_, str>], pattern: &str| texts.iter().any(|text| fits(&text.to_lowercase(), pattern));
    Some(match (value, literal) {
        (Value::Unknown, _) => return None,
        (Value::Nothing, _) => operator == Operator::IsNot,
        (Value::Text(text), Literal::Pattern(pattern)) => {
            fits(&text.to_lowercase(), pattern) == (operator == Operator::Is)
        }
        (Value::Texts(texts), Literal::Pattern(pattern)) => is_one_of(texts, pattern) == (operator == Operator::Is),
        (Value::Number(n), Literal::Number(wanted)) => match operator {
            Operator::Above => n > wanted,
            Operator::AtLeast => n >= wanted,
            Operator::Below => n < wanted,
            Operator::AtMost => n <= wanted,
            // Numbers are shown rounded: what looks equal is.
            Operator::Is => (n - wanted).abs() <= wanted.abs() * 0.005,
            Operator::IsNot => (n - wanted).abs() > wanted.abs() * 0.005,
        },
        _ => false,
    })
}

/// True when `text` is what `pattern` says, `*` standing for anything.
fn fits(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What `text` says of rows with these fields.
///
/// # Errors
/// What is wrong with it, in words: an unknown column with the nearest one, a value that is none.
pub fn parse(text: &str, fields: &'static [Field]) -> Result<Filter, String> {
    let terms = split(text).iter().map(|token| term(token, fields)).collect::<Result<_, _>>()?;
    Ok(Filter { terms })
}

/// A character, and whether it stands for itself because it is quoted or escaped.
type Taken = (char, bool);

fn split(text: &str) -> Vec<Vec<Taken>> {
    let mut tokens: Vec<Vec<Taken>> = Vec::new();
    let (mut token, mut is_open, mut quoted) = (Vec::new(), false, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            // A \ at the very end is still being typed.
            '\\' => {
                if let Some(next) = characters.next() {
                    token.push((next, true));
                    is_open = true;
                }
            }
            '"' => {
                quoted = !quoted;
                is_open = true;
            }
            c if c.is_whitespace() && !quoted => {
                if std::mem::take(&mut is_open) {
                    tokens.push(std::mem::take(&mut token));
                }
            }
            c => {
                token.push((c, quoted));
                is_open = true;
            }
        }
    }
    if is_open {
        tokens.push(token);
    }
    tokens
}

fn spelt(taken: &[Taken]) -> String {
    taken.iter().map(|(c, _)| c).collect::<String>().to_lowercase()
}

fn term(token: &[Taken], fields: &'static [Field]) -> Result<Term, String> {
    let (not, rest) = match token {
        [('!', false), rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let is_operator = |at: usize| match rest[at] {
        ('<' | '>' | '=', false) => true,
        ('!', false) => rest.get(at + 1) == Some(&('=', false)),
        _ => false,
    };
    let Some(at) = (0..rest.len()).find(|at| is_operator(*at)) else {
        if rest.is_empty() && not {
            return Err("what must not be there? !word".to_owned());
        }
        return Ok(Term { not, what: What::Word(spelt(rest)) });
    };
    let (operator, length) = match (rest[at].0, rest.get(at + 1)) {
        ('>', Some(('=', false))) => (Operator::AtLeast, 2),
        ('<', Some(('=', false))) => (Operator::AtMost, 2),
        ('>', _) => (Operator::Above, 1),
        ('<', _) => (Operator::Below, 1),
        ('!', _) => (Operator::IsNot, 2),
        _ => (Operator::Is, 1),
    };
    let (name, typed) = (spelt(&rest[..at]), spelt(&rest[at + length..]));
    let Some(mut field) = fields.iter().find(|field| field.is_called(&name)) else {
        let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let near = nearest(&name, &known);
        return Err(format!("there is no column {name:?} here{near} (\\{} is the character)", rest[at].0));
    };
    if typed.ends_with('%')
        && let Some(share) = field.as_share.and_then(|share| fields.iter().find(|field| field.name == share))
    {
        field = share;
    }
    let literal = literal(field, &typed)?;
    if matches!(literal, Literal::Pattern(_)) && !matches!(operator, Operator::Is | Operator::IsNot) {
        return Err(format!("{} is a text: {0}={typed} or {0}!={typed}", field.name));
    }
    Ok(Term { not, what: What::Compared(field.name, operator, literal) })
}

fn literal(field: &Field, typed: &str) -> Result<Literal, String> {
    let name = field.name;
    let (scales, example): (&[(&str, f64)], &str) = match field.kind {
        Kind::Words if typed.is_empty() => return Err(format!("{name} is what? * stands for anything")),
        Kind::Words => return Ok(Literal::Pattern(typed.to_owned())),
        Kind::Moment => return Err(format!("{name} can only be sorted by: age<1d compares")),
        Kind::Count => (&COUNTS, "a number such as 100, 5k or 1m"),
        Kind::Bytes => (&BYTES, "a size such as 512kb, 10mb or 1gb"),
        Kind::Percent => (&PERCENT, "a percentage such as 80%"),
        Kind::Duration => (&DURATIONS, "a time such as 500ms, 10s, 5m, 2h or 1d"),
    };
    let wrong =
        || format!("{name} takes {example}{}", if typed.is_empty() { String::new() } else { format!(", not {typed}") });
    let plain = typed.replace(['_', ','], "");
    let digits = plain.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(plain.len());
    let number: f64 = plain[..digits].parse().map_err(|_| wrong())?;
    let unit = plain[digits..].trim_end_matches("/s");
    let scale = scales.iter().find(|(known, _)| *known == unit).map(|(_, scale)| *scale);
    // Nothing needs no unit.
    let scale = if number == 0.0 && unit.is_empty() { Some(1.0) } else { scale };
    scale.map(|scale| Literal::Number(number * scale)).ok_or_else(wrong)
}

const COUNTS: [(&str, f64); 5] = [("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9), ("b", 1e9)];
/// Powers of 1000, as the screens show them and AWS bills them.
const BYTES: [(&str, f64); 14] = [
    ("", 1.0),
    ("b", 1.0),
    ("k", 1e3),
    ("kb", 1e3),
    ("kib", 1024.0),
    ("m", 1e6),
    ("mb", 1e6),
    ("mib", 1_048_576.0),
    ("g", 1e9),
    ("gb", 1e9),
    ("gib", 1_073_741_824.0),
    ("t", 1e12),
    ("tb", 1e12),
    ("tib", 1_099_511_627_776.0),
];
const PERCENT: [(&str, f64); 2] = [("", 1.0), ("%", 1.0)];
const DURATIONS: [(&str, f64); 9] = [
    ("ms", 1.0),
    ("s", 1e3),
    ("m", 60e3),
    ("min", 60e3),
    ("h", 3_600e3),
    ("d", 86_400e3),
    ("w", 604_800e3),
    ("sec", 1e3),
    ("hours", 3_600e3),
];

/// A filter while it is typed: what was typed, what it says, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Search {
    text: String,
    filter: Filter,
    wrong: Option<String>,
}

impl Search {
    /// `text` is what it says now; while that is wrong, what was right before stays in force.
    pub fn set(&mut self, text: &str, fields: &'static [Field]) {
        text.clone_into(&mut self.text);
        match parse(text, fields) {
            Ok(filter) => {
                self.filter = filter;
                self.wrong = None;
            }
            Err(wrong) => self.wrong = Some(wrong),
        }
    }

    /// Shows everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when everything is shown.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What is wrong with what was typed.
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// What holds.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: &[Field] = &[
        Field::new("name", Kind::Words, "TABLE"),
        Field::new("status", Kind::Words, "STATUS"),
        Field::new("size", Kind::Bytes, "SIZE").also(&["bytes"]),
        Field::new("items", Kind::Count, "ITEMS"),
        Field::new("used", Kind::Count, "USED").as_share("share"),
        Field::new("share", Kind::Percent, "USED %"),
        Field::new("lag", Kind::Duration, "LAG"),
        Field::new("index", Kind::Words, ""),
        Field::new("started", Kind::Moment, "STARTED"),
    ];

    struct Quotes;

    impl Row for Quotes {
        fn text(&self) -> Cow<'_, str> {
            "Quotes of the day!".into()
        }

        fn value(&self, field: &str) -> Value<'_> {
            match field {
                "name" => Value::text("quotes"),
                "status" => Value::text("ACTIVE"),
                "size" => Value::Number(2e9),
                "items" => Value::Number(1_200_000.0),
                "used" => Value::Number(425.0),
                "share" => Value::Number(85.0),
                "index" => Value::Texts(vec!["by_day".into(), "by_name".into()]),
                "lag" => Value::Nothing,
                _ => Value::Unknown,
            }
        }
    }

    fn shows(text: &str) -> Verdict {
        parse(text, FIELDS).unwrap_or_else(|wrong| panic!("{text}: {wrong}")).verdict(&Quotes)
    }

    #[test]
    fn every_word_must_be_there_and_what_is_excluded_must_not() {
        for (text, shown) in [
            ("", true),
            ("quo DAY", true),
            ("quo night", false),
            ("!night", true),
            ("!quo", false),
            ("\"of the\"", true),
            ("\"the of\"", false),
            ("!\"the of\"", true),
            ("the of", true),
            (r"\!", true),
            (r"!\!", false),
            (r"day\!", true),
        ] {
            assert_eq!(shows(text) == Verdict::Yes, shown, "{text}");
        }
    }

    #[test]
    fn columns_are_compared_in_the_units_that_people_write() {
        for (text, shown) in [
            ("size>1gb", true),
            ("size>=2gb", true),
            ("bytes<1.9gib", true),
            ("size>3GB", false),
            ("items>=1m", true),
            ("items=1.2m", true),
            ("used>80%", true),
            ("used>90%", false),
            ("used>400", true),
            ("status=active", true),
            ("status!=active", false),
            ("!status=active", false),
            ("index=by_day", true),
            ("index=by_*", true),
            ("index=by", false),
            ("name=quo*", true),
            ("name=*ote*", true),
            ("name=quo", false),
            // It has no lag: that is neither long nor short.
            ("lag>1m", false),
            ("lag<1m", false),
            ("quo size>1gb !lag>1s", true),
        ] {
            assert_eq!(shows(text) == Verdict::Yes, shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_neither_shown_nor_left_out() {
        const MORE: &[Field] = &[Field::new("throttled", Kind::Count, ""), Field::new("size", Kind::Bytes, "")];
        let verdict = |text| parse(text, MORE).unwrap().verdict(&Quotes);
        assert_eq!(verdict("throttled>0"), Verdict::Unknown);
        assert_eq!(verdict("!throttled>0"), Verdict::Unknown);
        assert_eq!(verdict("throttled>0 size>9gb"), Verdict::No, "one that does not agree is enough");
        assert!(parse("a throttled>0", MORE).unwrap().compares_more_than(&["size"]));
        assert!(!parse("a size>0", MORE).unwrap().compares_more_than(&["size"]));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let wrong = |text| parse(text, FIELDS).unwrap_err();
        assert_eq!(
            wrong("sise>1gb"),
            "there is no column \"sise\" here: did you mean \"size\"? (\\> is the character)"
        );
        assert_eq!(wrong("size>1gbb"), "size takes a size such as 512kb, 10mb or 1gb, not 1gbb");
        assert_eq!(wrong("lag>10"), "lag takes a time such as 500ms, 10s, 5m, 2h or 1d, not 10");
        assert_eq!(wrong("items>"), "items takes a number such as 100, 5k or 1m");
        assert_eq!(wrong("status>active"), "status is a text: status=active or status!=active");
        assert_eq!(wrong("a !"), "what must not be there? !word");
        assert_eq!(wrong("started>1d"), "started can only be sorted by: age<1d compares");
    }

    #[test]
    fn while_it_is_wrong_what_was_right_stays_in_force() {
        let mut search = Search::default();
        search.set("size>1gb", FIELDS);
        let before = search.filter().clone();
        search.set("size>1gb lag>", FIELDS);
        assert_eq!(search.filter(), &before);
        assert!(search.wrong().unwrap().starts_with("lag takes a time"));
        search.set("size>1gb lag>1s", FIELDS);
        assert_eq!(search.wrong(), None);
        assert_ne!(search.filter(), &before);
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in ".*") {
            if let Ok(filter) = parse(&text, FIELDS) {
                filter.verdict(&Quotes);
            }
        }

        #[test]
        fn nothing_made_of_the_signs_of_the_language_panics(
            text in "([!<>=\\\\\"%*. ]|size|lag|name|1|gb|m|é){0,24}"
        ) {
            if let Ok(filter) = parse(&text, FIELDS) {
                filter.verdict(&Quotes);
            }
        }

        #[test]
        fn a_word_with_every_character_escaped_is_found(word in "[a-z!<>=\"\\\\ ]{1,12}") {
            struct Named(String);
            impl Row for Named {
                fn text(&self) -> Cow<'_, str> {
                    self.0.as_str().into()
                }
                fn value(&self, _: &str) -> Value<'_> {
                    Value::Unknown
                }
            }
            let escaped: String = word.chars().flat_map(|c| ['\\', c]).collect();
            let filter = parse(&escaped, FIELDS).unwrap();
            prop_assert_eq!(filter.verdict(&Named(format!("x{word}y"))), Verdict::Yes);
        }
    }
}
