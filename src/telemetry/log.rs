//! Parameters in the log, with their secrets filtered out as Phoenix does.
//!
//! A value is `[FILTERED]` when its key contains one of [`SECRETS`], at any depth, and so is a text
//! that contains one of them followed by `=` (a URL with a token in it).

use std::fmt;

use serde_json::Value;

use crate::protocol::http::{Param, Params};

/// Connect parameters, for a line in the log. Nothing is done unless it is printed.
pub(crate) fn filtered_params(params: &Params) -> impl fmt::Display {
    struct Filtered<'a>(&'a Params);
    impl fmt::Display for Filtered<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            filter(map_to_json(self.0)).fmt(f)
        }
    }
    Filtered(params)
}

/// Join parameters, likewise.
pub(crate) fn filtered_json(json: &[u8]) -> impl fmt::Display {
    struct Filtered<'a>(&'a [u8]);
    impl fmt::Display for Filtered<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match serde_json::from_slice(self.0) {
                Ok(value) => filter(value).fmt(f),
                Err(_) => write!(f, "binary ({} bytes)", self.0.len()),
            }
        }
    }
    Filtered(json)
}

fn map_to_json(params: &Params) -> Value {
    params.iter().map(|(name, param)| (name.to_owned(), to_json(param))).collect()
}

fn to_json(param: &Param) -> Value {
    match param {
        Param::Text(text) => text.as_str().into(),
        Param::List(list) => list.iter().map(to_json).collect(),
        Param::Map(map) => map_to_json(map),
    }
}

fn filter(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                let is_secret = SECRETS.iter().any(|secret| key.contains(secret));
                let value = if is_secret { FILTERED.into() } else { filter(value) };
                (key, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(filter).collect(),
        Value::String(text)
            if SECRETS.iter().any(|secret| text.contains(&format!("{secret}="))) =>
        {
            FILTERED.into()
        }
        other => other,
    }
}

/// Phoenix' own list.
const SECRETS: [&str; 2] = ["password", "token"];
const FILTERED: &str = "[FILTERED]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::decode_query;

    #[test]
    fn secrets_are_filtered_at_any_depth() {
        let json = br#"{"user":{"password_hash":"x","name":"a"},"list":[{"api_token":1}],
            "url":"/a?token=b","tokens":["c"]}"#;
        assert_eq!(
            filtered_json(json).to_string(),
            r#"{"list":[{"api_token":"[FILTERED]"}],"tokens":"[FILTERED]","url":"[FILTERED]","user":{"name":"a","password_hash":"[FILTERED]"}}"#
        );
    }

    #[test]
    fn the_filter_minds_the_case_as_phoenix_does() {
        assert_eq!(filtered_json(br#"{"Token":1}"#).to_string(), r#"{"Token":1}"#);
    }

    #[test]
    fn query_parameters_are_filtered_too() {
        let params = decode_query("user[password]=a&vsn=2.0.0").expect("UTF-8");
        assert_eq!(
            filtered_params(&params).to_string(),
            r#"{"user":{"password":"[FILTERED]"},"vsn":"2.0.0"}"#
        );
    }
}
