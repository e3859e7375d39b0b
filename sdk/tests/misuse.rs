//! What the compiler says about the mistakes that authors make.
//!
//! `TRYBUILD=overwrite cargo test -p iggy_connector_sdk --test misuse` writes the messages anew.

#[test]
fn mistakes_are_told_so_that_their_authors_understand() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
