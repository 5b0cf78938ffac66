use super::*;

#[test]
fn every_template_parses() {
    for (name, _) in TEMPLATES {
        assert!(ENVIRONMENT.get_template(name).is_ok(), "{name}");
    }
}

#[test]
fn an_unquoted_value_does_not_reach_a_statement() {
    let refused = |source: &str| {
        let value = values! { table => "x; DROP TABLE events" };
        ENVIRONMENT.render_str(source, value).expect_err("must be refused").to_string()
    };
    assert!(refused("DROP TABLE {{ table }}").contains("not quoted"));
    assert!(refused("DROP TABLE {{ table ~ 'y' }}").contains("not quoted"));
    assert!(refused("DROP TABLE {{ table|keyword }}").contains("not a keyword"));
    // The way round the quoting that other environments offer does not exist.
    assert!(refused("DROP TABLE {{ table|safe }}").contains("safe"));
    assert!(refused("DROP TABLE {{ missing }}").contains("undefined"));
}
