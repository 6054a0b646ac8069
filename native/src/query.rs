//! Choosing among live flows: the filter language of Skycore in its JSON form, order and range.
//!
//! A filter is one of `{"all": [filter…]}`, `{"any": [filter…]}`, `{"not": filter}`, `{"present": key}`,
//! `{"equals": {"key", "value"}}`, `{"compare": {"key", "operator": "lt"|"lte"|"gt"|"gte", "value"}}`,
//! `{"matches": {"key", "pattern"}}`, `{"in_network": {"key", "network"}}`.

use std::cmp::Ordering;
use std::collections::HashSet;
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
    /// One of many texts.
    OneOf(HashSet<String>),
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
            Form::Any(forms) => match one_of(&forms) {
                Some((key, texts)) => leaf(key, Test::OneOf(texts)),
                None => every(forms).map(Self::Any),
            },
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

/// What many comparisons of one key with texts come to: its value is looked up once.
fn one_of(forms: &[Form]) -> Option<(&str, HashSet<String>)> {
    let text = |form: &Form| match form {
        Form::Equals { value: serde_json::Value::String(text), .. } => Some(text.clone()),
        _ => None,
    };
    let Some(Form::Equals { key: first, .. }) = forms.first().filter(|_| forms.len() > 1) else { return None };
    let same = forms.iter().all(|form| matches!(form, Form::Equals { key, .. } if key == first));
    let texts = same.then(|| forms.iter().map(text).collect::<Option<_>>())??;
    Some((first, texts))
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
            Self::OneOf(wanted) => text_of(value).is_some_and(|text| wanted.contains(text)),
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
    /// Of those with the same value there the first one stays; those without one all stay.
    pub dedup_by: Option<Field>,
    pub offset: usize,
    pub limit: usize,
}

/// A flow that was chosen: its place in the table, and its UUID, by which it is known whether it is still there.
pub type Choice = (u32, u64);

/// Numbers before texts before others.
type Rank = (u8, i128, String);

fn rank(value: Value<'_>) -> Rank {
    match value {
        Value::Int(number) => (0, number, String::new()),
        Value::Text(text) => (1, 0, text.into_owned()),
        Value::Json(serde_json::Value::Number(number)) => (0, number.as_i64().map_or(0, i128::from), String::new()),
        Value::Json(serde_json::Value::String(text)) => (1, 0, text),
        Value::Json(other) => (2, 0, other.to_string()),
        Value::Either([first, _]) => rank(*first),
    }
}

/// Orders UUIDs as their texts, which are hexadecimal without leading zeros.
fn as_text(uuid: u64) -> (u64, u32) {
    let zeros = uuid.leading_zeros() / 4;
    (uuid.checked_shl(zeros * 4).unwrap_or(0), 16 - zeros)
}

/// The smaller comes first; what lacks the key comes last, descending too.
fn order(one: &Option<Rank>, other: &Option<Rank>, descending: bool) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) if descending => other.cmp(one),
        (Some(one), Some(other)) => one.cmp(other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}

impl FlowTable {
    /// The flows that a query wants, in its order.
    pub fn choose(&self, query: &Query) -> Vec<Choice> {
        let end = query.offset.saturating_add(query.limit);
        let wanted = (0..self.flows.used())
            .filter_map(|index| self.flows.get(index).map(|flow| (index, flow)))
            .filter(|(_, flow)| query.filter.holds(flow, self.options()));
        let Some(field) = &query.sort_by else {
            return self
                .each_once(query, wanted.map(|(index, flow)| (index, flow.ids.uuid)))
                .take(end)
                .skip(query.offset)
                .collect();
        };
        let compare = |one: &(Option<Rank>, u32, u64), other: &(Option<Rank>, u32, u64)| {
            order(&one.0, &other.0, query.descending).then_with(|| as_text(one.2).cmp(&as_text(other.2)))
        };
        let mut sorted: Vec<_> =
            wanted.map(|(index, flow)| (field.value(flow, self.options()).map(rank), index, flow.ids.uuid)).collect();
        if query.dedup_by.is_none() && end < sorted.len() {
            // Only the first ones are wanted: nobody sorts the rest.
            sorted.select_nth_unstable_by(end, compare);
            sorted.truncate(end);
        }
        sorted.sort_unstable_by(compare);
        let sorted = sorted.into_iter().map(|(_, index, uuid)| (index, uuid));
        self.each_once(query, sorted).take(end).skip(query.offset).collect()
    }

    fn each_once<'a>(
        &'a self,
        query: &'a Query,
        choices: impl Iterator<Item = Choice> + 'a,
    ) -> Box<dyn Iterator<Item = Choice> + 'a> {
        let Some(field) = &query.dedup_by else { return Box::new(choices) };
        let mut seen = HashSet::new();
        Box::new(choices.filter(move |(index, _)| {
            let value = self.flows.get(*index).and_then(|flow| field.value(flow, self.options()));
            value.is_none_or(|value| seen.insert(rank(value)))
        }))
    }

    /// Give those of the chosen flows to `emit` that are still there, as they stand.
    pub fn chosen(&self, choices: &[Choice], mut emit: impl FnMut(&Flow)) {
        for (index, uuid) in choices {
            if let Some(flow) = self.flows.get(*index).filter(|flow| flow.ids.uuid == *uuid) {
                emit(flow);
            }
        }
    }
}
