//! Choosing among live flows: the filter language of Skycore in its JSON form, order and range.
//!
//! A filter is one of `{"all": [filter…]}`, `{"any": [filter…]}`, `{"not": filter}`, `{"present": key}`,
//! `{"equals": {"key", "value"}}`, `{"compare": {"key", "operator": "lt"|"lte"|"gt"|"gte", "value"}}`,
//! `{"matches": {"key", "pattern"}}`, `{"in_network": {"key", "network"}}`.

use std::cmp::Ordering;
use std::net::Ipv4Addr;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::fields::{Field, Value};
use crate::flow::Flow;
use crate::options::Options;
use crate::table::FlowTable;

/// A pattern may take so much memory, in bytes.
const PATTERN_MEMORY: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Form {
    All(Vec<Form>),
    Any(Vec<Form>),
    Not(Box<Form>),
    Present(String),
    Equals { key: String, value: serde_json::Value },
    Compare { key: String, operator: Operator, value: serde_json::Number },
    Matches { key: String, pattern: String },
    InNetwork { key: String, network: String },
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Operator {
    Lt,
    Lte,
    Gt,
    Gte,
}

/// A filter that is ready to be asked.
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Leaf(Field, Test),
}

/// What a value has to be.
pub enum Test {
    Present,
    Text(String),
    Bool(bool),
    Number(Number),
    Compare(fn(Ordering) -> bool, Number),
    Matches(Regex),
    InNetwork(u32, u32),
}

/// Integers are compared exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    fn of(number: &serde_json::Number) -> Self {
        let int = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        int.map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
    }

    /// A text of decimal digits with sign and fraction counts as its number.
    fn of_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
        let decimal = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal(whole) || !fraction.is_none_or(decimal) {
            return None;
        }
        match fraction {
            None => text.parse().ok().map(Self::Int),
            Some(_) => text.parse().ok().map(Self::Float),
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => exactly(a, b),
            (Self::Float(a), Self::Int(b)) => exactly(b, a).map(Ordering::reverse),
        }
    }
}

fn exactly(int: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Beyond 2^127 the cast gives the largest or smallest number, which is right, too.
    let whole = float.floor();
    Some(int.cmp(&(whole as i128)).then(if float > whole { Ordering::Less } else { Ordering::Equal }))
}

impl Filter {
    /// From its JSON form; an error says what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string()).and_then(Self::ready)
    }

    fn ready(form: Form) -> Result<Self, String> {
        let every = |forms: Vec<Form>| forms.into_iter().map(Self::ready).collect::<Result<Vec<_>, _>>();
        let leaf = |key: &str, test| Ok(Self::Leaf(Field::of(key), test));
        match form {
            Form::All(forms) => every(forms).map(Self::All),
            Form::Any(forms) => every(forms).map(Self::Any),
            Form::Not(form) => Self::ready(*form).map(|filter| Self::Not(Box::new(filter))),
            Form::Present(key) => leaf(&key, Test::Present),
            Form::Equals { key, value } => leaf(
                &key,
                match value {
                    serde_json::Value::String(text) => Test::Text(text),
                    serde_json::Value::Bool(value) => Test::Bool(value),
                    serde_json::Value::Number(number) => Test::Number(Number::of(&number)),
                    other => return Err(format!("equals takes a text, a number or a bool, not {other}")),
                },
            ),
            Form::Compare { key, operator, value } => leaf(
                &key,
                Test::Compare(
                    match operator {
                        Operator::Lt => Ordering::is_lt,
                        Operator::Lte => Ordering::is_le,
                        Operator::Gt => Ordering::is_gt,
                        Operator::Gte => Ordering::is_ge,
                    },
                    Number::of(&value),
                ),
            ),
            Form::Matches { key, pattern } => {
                let whole = RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_MEMORY).build();
                leaf(&key, Test::Matches(whole.map_err(|error| format!("error parsing regexp: {error}"))?))
            }
            Form::InNetwork { key, network } => {
                let (address, mask) = parse_network(&network).ok_or(format!("invalid CIDR address: {network}"))?;
                leaf(&key, Test::InNetwork(address & mask, mask))
            }
        }
    }

    /// Whether it holds for a flow.
    pub fn holds(&self, flow: &Flow, options: &Options) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.holds(flow, options)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(flow, options)),
            Self::Not(filter) => !filter.holds(flow, options),
            Self::Leaf(field, test) => field.value(flow, options).is_some_and(|value| test.passes(&value)),
        }
    }
}

fn parse_network(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let bits = match length {
        None => 32,
        Some(digits) if digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    let mask = match bits {
        0 => 0,
        1..=32 => u32::MAX << (32 - bits),
        _ => return None,
    };
    Some((u32::from(address.parse::<Ipv4Addr>().ok()?), mask))
}

fn number_of(value: &Value<'_>) -> Option<Number> {
    match value {
        Value::Int(number) => Some(Number::Int(*number)),
        Value::Text(text) => Number::of_text(text),
        Value::Json(serde_json::Value::Number(number)) => Some(Number::of(number)),
        Value::Json(serde_json::Value::String(text)) => Number::of_text(text),
        Value::Json(serde_json::Value::Bool(value)) => Some(Number::Int((*value).into())),
        _ => None,
    }
}

fn text_of<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Json(serde_json::Value::String(text)) => Some(text),
        _ => None,
    }
}

impl Test {
    fn passes(&self, value: &Value<'_>) -> bool {
        if matches!(self, Self::Present) {
            return true;
        }
        match value {
            Value::Either(both) => both.iter().any(|one| self.passes(one)),
            Value::Json(serde_json::Value::Array(several)) => {
                several.iter().any(|one| self.passes(&Value::Json(one.clone())))
            }
            one => self.passes_one(one),
        }
    }

    fn passes_one(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::Text(wanted) => text_of(value) == Some(wanted),
            Self::Bool(wanted) => matches!(value, Value::Json(serde_json::Value::Bool(value)) if value == wanted),
            Self::Number(wanted) => {
                number_of(value).and_then(|number| number.compare(*wanted)) == Some(Ordering::Equal)
            }
            Self::Compare(stands, bound) => {
                number_of(value).and_then(|number| number.compare(*bound)).is_some_and(stands)
            }
            Self::Matches(pattern) => text_of(value).is_some_and(|text| pattern.is_match(text)),
            Self::InNetwork(network, mask) => {
                text_of(value).and_then(parse_network).is_some_and(|(address, _)| address & mask == *network)
            }
        }
    }
}

/// Which live flows are wanted, and in what order.
pub struct Query {
    pub filter: Filter,
    /// The key to sort by; None: no order.
    pub sort_by: Option<Field>,
    pub descending: bool,
    pub offset: usize,
    pub limit: usize,
}

fn rank(value: Option<Value<'_>>) -> (u8, i128, String) {
    match value {
        None => (0, 0, String::new()),
        Some(Value::Int(number)) => (1, number, String::new()),
        Some(Value::Text(text)) => (2, 0, text.into_owned()),
        Some(Value::Json(serde_json::Value::Number(number))) => {
            (1, number.as_i64().map_or(0, i128::from), String::new())
        }
        Some(Value::Json(other)) => (2, 0, other.to_string()),
        Some(Value::Either([first, _])) => rank(Some(*first)),
    }
}

impl FlowTable {
    /// Give the flows that a query wants to `emit`, as they stand.
    pub fn select(&self, query: &Query, mut emit: impl FnMut(&Flow)) {
        let wanted = self.each().filter(|flow| query.filter.holds(flow, self.options()));
        match &query.sort_by {
            None => wanted.skip(query.offset).take(query.limit).for_each(emit),
            Some(field) => {
                let mut sorted: Vec<_> =
                    wanted.map(|flow| (rank(field.value(flow, self.options())), flow.ids.uuid, flow)).collect();
                sorted.sort_by(|a, b| {
                    let order = a.0.cmp(&b.0);
                    (if query.descending { order.reverse() } else { order }).then(a.1.cmp(&b.1))
                });
                for (_, _, flow) in sorted.into_iter().skip(query.offset).take(query.limit) {
                    emit(flow);
                }
            }
        }
    }
}
