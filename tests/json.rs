//! `docs/json.md` says what is so: its examples are results, and its tables know every key.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeSet;

use netsonde::{ProbeResult, Report};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../docs/json.md");

fn examples() -> Vec<&'static str> {
    let blocks = DOCUMENT.split("```json\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_are_results_that_round_trip() {
    assert_eq!(examples().len(), 2);
    for example in examples() {
        let result: ProbeResult<Report> = serde_json::from_str(example).unwrap();
        let wanted: Value = serde_json::from_str(example).unwrap();
        assert_eq!(serde_json::to_value(&result).unwrap(), wanted);
        assert!(result.timing.is_tiled());
    }
}

#[test]
fn every_key_of_the_examples_is_explained() {
    fn keys(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    found.insert(key.clone());
                    keys(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for example in examples() {
        keys(&serde_json::from_str(example).unwrap(), &mut found);
    }
    assert!(found.len() > 100, "{}", found.len());
    let explained = |key: &String| DOCUMENT.contains(&format!("`{key}`"));
    let missing: Vec<_> = found.into_iter().filter(|key| !explained(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_waterfall_in_timing_md_is_that_of_the_first_example() {
    let document = include_str!("../docs/timing.md");
    let result: ProbeResult<Report> = serde_json::from_str(examples()[0]).unwrap();
    for line in result.to_string().lines().take(10) {
        assert!(document.contains(&format!("    {line}\n")), "{line}");
    }
}
