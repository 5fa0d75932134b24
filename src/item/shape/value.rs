//! Between `DynamoDB`'s typed JSON and the plain values that expressions compute with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jaq_core::ValT as _;
use jaq_json::{Map, Num, Val};
use serde_json::{Value, json};

use super::expression::View;
use crate::item::number::Number;
use crate::item::types::Refusal;

/// The type that a set asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    S,
    N,
    B,
    Bool,
    Null,
    L,
    M,
    Ss,
    Ns,
    Bs,
}

impl std::str::FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "S" => Self::S,
            "N" => Self::N,
            "B" => Self::B,
            "BOOL" => Self::Bool,
            "NULL" => Self::Null,
            "L" => Self::L,
            "M" => Self::M,
            "SS" => Self::Ss,
            "NS" => Self::Ns,
            "BS" => Self::Bs,
            _ => return Err(()),
        })
    }
}

/// The item of `json` as expressions see it: strings, numbers (integers exact, others as written), byte strings,
/// booleans, null, arrays for lists and sets, objects for maps.
pub(super) fn untyped(json: &[u8]) -> Result<View, Refusal> {
    let item: Value = serde_json::from_slice(json).map_err(|error| Refusal::NotJson(error.to_string()))?;
    let Value::Object(attributes) = item else { return Err(Refusal::NotAnObject) };
    let mut map = Map::default();
    for (name, value) in &attributes {
        let plain =
            plain(value).map_err(|reason| Refusal::BadAttribute { name: name.clone(), reason: reason.to_owned() })?;
        map.insert(Val::from(name.clone()), plain);
    }
    Ok(Val::obj(map))
}

fn plain(value: &Value) -> Result<Val, &'static str> {
    const UNTYPED: &str = "it is not {\"TYPE\":value} of a known type";
    let typed = value.as_object().filter(|typed| typed.len() == 1).ok_or(UNTYPED)?;
    let (tag, value) = typed.iter().next().ok_or(UNTYPED)?;
    let items = || value.as_array().ok_or("its value is no list");
    Ok(match tag.as_str() {
        "S" => Val::from(value.as_str().ok_or("S holds no string")?.to_owned()),
        "N" => number(value)?,
        "B" => bytes(value)?,
        "BOOL" => Val::from(value.as_bool().ok_or("BOOL holds neither true nor false")?),
        "NULL" => Val::Null,
        "L" => items()?.iter().map(plain).collect::<Result<_, _>>()?,
        "SS" => {
            let text = |v: &Value| v.as_str().map(|s| Val::from(s.to_owned())).ok_or("SS holds no strings");
            items()?.iter().map(text).collect::<Result<_, _>>()?
        }
        "NS" => items()?.iter().map(number).collect::<Result<_, _>>()?,
        "BS" => items()?.iter().map(bytes).collect::<Result<_, _>>()?,
        "M" => {
            let mut map = Map::default();
            for (name, value) in value.as_object().ok_or("M holds no object")? {
                map.insert(Val::from(name.clone()), plain(value)?);
            }
            Val::obj(map)
        }
        _ => return Err(UNTYPED),
    })
}

fn number(value: &Value) -> Result<Val, &'static str> {
    const NONE: &str = "N holds no number";
    let text = value.as_str().ok_or(NONE)?;
    // The engine takes a number's text on trust and would panic on another.
    if Number::parse(text.as_bytes()).is_err() || text.parse::<f64>().is_err() {
        return Err(NONE);
    }
    Val::from_num(text).map_err(|_| NONE)
}

/// Base64, or the lists of numbers that old backups hold.
fn bytes(value: &Value) -> Result<Val, &'static str> {
    const NONE: &str = "B holds neither base64 nor a Buffer";
    let list = |list: &Vec<Value>| {
        list.iter().map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok())).collect::<Option<Vec<u8>>>()
    };
    let found = match value {
        Value::String(text) => STANDARD.decode(text).ok(),
        Value::Array(numbers) => list(numbers),
        Value::Object(buffer) => buffer.get("data").and_then(Value::as_array).and_then(list),
        _ => None,
    };
    found.map(Val::byte_str).ok_or(NONE)
}

/// `value` as an attribute's typed JSON: of the type that it is, or of `kind`.
pub(super) fn typed(value: &Val, kind: Option<Kind>) -> Result<String, String> {
    attribute(value, kind).map(|value| value.to_string())
}

fn attribute(value: &Val, kind: Option<Kind>) -> Result<Value, String> {
    let natural = match value {
        Val::Null => Kind::Null,
        Val::Bool(_) => Kind::Bool,
        Val::Num(_) => Kind::N,
        Val::BStr(_) => Kind::B,
        Val::TStr(_) => Kind::S,
        Val::Arr(_) => Kind::L,
        Val::Obj(_) => Kind::M,
    };
    let each = |of: fn(&Val) -> Result<Value, String>| match value {
        Val::Arr(values) => values.iter().map(of).collect::<Result<Vec<Value>, String>>(),
        _ => Err("a set is made of an array".to_owned()),
    };
    Ok(match kind.unwrap_or(natural) {
        Kind::S => json!({ "S": text(value)? }),
        Kind::N => json!({ "N": number_text(value)? }),
        Kind::B => json!({ "B": base64(value)? }),
        Kind::Ss => json!({ "SS": each(text)? }),
        Kind::Ns => json!({ "NS": each(number_text)? }),
        Kind::Bs => json!({ "BS": each(base64)? }),
        Kind::Null if *value == Val::Null => json!({ "NULL": true }),
        Kind::Bool => match value {
            Val::Bool(truth) => json!({ "BOOL": truth }),
            _ => return Err("the expression gives neither true nor false".to_owned()),
        },
        Kind::L => match value {
            Val::Arr(values) => {
                json!({ "L": values.iter().map(|v| attribute(v, None)).collect::<Result<Vec<_>, _>>()? })
            }
            _ => return Err("the expression gives no array".to_owned()),
        },
        Kind::M => match value {
            Val::Obj(map) => {
                let mut typed = serde_json::Map::new();
                for (name, value) in map.iter() {
                    let Value::String(name) = text(name)? else { return Err("a name is no string".to_owned()) };
                    typed.insert(name, attribute(value, None)?);
                }
                json!({ "M": typed })
            }
            _ => return Err("the expression gives no object".to_owned()),
        },
        Kind::Null => return Err("the expression does not give null".to_owned()),
    })
}

fn text(value: &Val) -> Result<Value, String> {
    match value {
        Val::TStr(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err("a string of the expression is no UTF-8".to_owned()),
        },
        _ => Err("the expression gives no string: | tostring makes one".to_owned()),
    }
}

fn number_text(value: &Val) -> Result<Value, String> {
    let text = match value {
        Val::Num(Num::Int(n)) => n.to_string(),
        Val::Num(Num::BigInt(n)) => n.to_string(),
        Val::Num(Num::Dec(text)) => text.to_string(),
        Val::Num(Num::Float(n)) if !n.is_finite() => return Err("the expression gives no finite number".to_owned()),
        Val::Num(Num::Float(n)) if *n != 0.0 && !(1e-6..1e21).contains(&n.abs()) => format!("{n:e}"),
        Val::Num(Num::Float(n)) => n.to_string(),
        Val::TStr(bytes) if Number::parse(bytes).is_ok() => String::from_utf8_lossy(bytes).into_owned(),
        _ => return Err("the expression gives no number".to_owned()),
    };
    Ok(Value::String(text))
}

fn base64(value: &Val) -> Result<Value, String> {
    match value {
        Val::BStr(bytes) => Ok(Value::String(STANDARD.encode(&***bytes))),
        Val::TStr(text) if STANDARD.decode(&***text).is_ok() => {
            Ok(Value::String(String::from_utf8_lossy(text).into_owned()))
        }
        _ => Err("the expression gives neither bytes nor base64".to_owned()),
    }
}
