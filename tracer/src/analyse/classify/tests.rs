use super::*;

#[test]
fn every_pattern_parses() {
    assert_eq!(RULES.rules.len(), table::TABLE.len());
}
