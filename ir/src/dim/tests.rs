//! Dims against plain integer arithmetic.

use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Dim {
    text.parse().unwrap()
}

#[test]
fn normal_form_identifies_equal_polynomials() {
    for (a, b) in [
        ("N + M", "M + N"),
        ("2*(N + 1)", "2*N + 2"),
        ("(N + 1)*(N - 1)", "N*N - 1"),
        ("(4*N + 8)/4", "N + 2"),
        ("(4*N + M)/4", "N + M/4"),
        ("(4*N + M)%4", "M%4"),
        ("4*(N/4) + N%4", "N"),
        ("12*(N/4) + 3*(N%4) + 1", "3*N + 1"),
        ("N/4/8", "N/32"),
        ("(N*M)/M", "N"),
        ("(N*M)%N", "0"),
        ("min(N + 1, N)", "N"),
        ("max(3, 7)", "7"),
        ("-7/2", "-4"),
        ("-7%2", "1"),
        ("N - N", "0"),
    ] {
        assert_eq!(d(a), d(b), "{a} == {b}");
    }
}

#[test]
fn ranges_decide_what_the_form_cannot() {
    let mut ranges = Ranges::default();
    ranges.set("i".into(), Range { lo: 0, hi: 7 });
    ranges.set("N".into(), Range { lo: 1, hi: 4096 });
    assert_eq!(ranges.simplify(&d("(8*N + i)/8")), d("N"));
    assert_eq!(ranges.simplify(&d("(8*N + i)%8")), d("i"));
    assert_eq!(ranges.simplify(&d("(N*k + i)/1")), d("N*k + i"));
    assert_eq!(ranges.simplify(&d("(4096*N + 8*k + i)%64")), d("8*(k%8) + i"));
    assert_eq!(ranges.simplify(&d("(4096*N + 8*k + i)/64")), d("64*N + k/8"));
    assert_eq!(ranges.simplify(&d("min(i, 8)")), d("i"));
    assert!(ranges.less(&d("i"), &d("8")));
    assert!(!ranges.less(&d("i"), &d("7")));
    assert!(ranges.divides(&d("4"), &d("8*N + 4")));
    assert!(!ranges.divides(&d("3"), &d("8*N")));
    assert!(ranges.differ(&d("N + i"), &d("0")));
    assert_eq!(ranges.bounds(&d("N*N - 1")), Range { lo: 0, hi: 4096 * 4096 - 1 });
}

#[test]
fn bad_text_names_what_was_expected() {
    assert_eq!(parse_dim("N +").unwrap_err().to_string(), "expected a number, a name or `(` at byte 3");
    assert_eq!(parse_dim("99999999999999999999").unwrap_err().expected, "an integer below 2^63");
    assert!(parse_dim(&"(".repeat(100_000)).unwrap_err().expected.contains("nesting"));
}

fn tree() -> impl Strategy<Value = (String, Dim)> {
    let leaf = prop_oneof![
        (-9i64..40).prop_map(|c| (format!("({c})"), Dim::from(c))),
        prop::sample::select(vec!["N", "M", "i"]).prop_map(|s| (s.to_owned(), Dim::sym(s))),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0..7u8, 1i64..9).prop_map(|((ta, a), (tb, b), op, c)| match op {
            0 => (format!("({ta} + {tb})"), &a + &b),
            1 => (format!("({ta} - {tb})"), &a - &b),
            2 => (format!("({ta} * {tb})"), &a * &b),
            3 => (format!("({ta} / {c})"), a.floor_div(&c.into())),
            4 => (format!("({ta} % {c})"), a.modulo(&c.into())),
            5 => (format!("min({ta}, {tb})"), a.minimum(&b)),
            _ => (format!("max({ta}, {tb})"), a.maximum(&b)),
        })
    })
}

/// Evaluates a tree's text without any normal form.
fn plain(text: &str, env: &dyn Fn(&str) -> i64) -> i64 {
    fn go(t: &[u8], at: &mut usize, env: &dyn Fn(&str) -> i64) -> i64 {
        let is_call = t[*at..].starts_with(b"min(") || t[*at..].starts_with(b"max(");
        if is_call {
            let smaller = t[*at + 1] == b'i';
            *at += 4;
            let a = go(t, at, env);
            *at += 2;
            let b = go(t, at, env);
            *at += 1;
            return if smaller { a.min(b) } else { a.max(b) };
        }
        if t[*at] == b'(' {
            *at += 1;
            let a = go(t, at, env);
            if t[*at] == b')' {
                *at += 1;
                return a;
            }
            let op = t[*at + 1];
            *at += 3;
            let b = go(t, at, env);
            *at += 1;
            return match op {
                b'+' => a + b,
                b'-' => a - b,
                b'*' => a * b,
                b'/' => a.div_euclid(b),
                _ => a.rem_euclid(b),
            };
        }
        let start = *at;
        *at += 1;
        while *at < t.len() && (t[*at].is_ascii_alphanumeric()) {
            *at += 1;
        }
        let word = str::from_utf8(&t[start..*at]).unwrap();
        word.parse().unwrap_or_else(|_| env(word))
    }
    go(text.as_bytes(), &mut 0, env)
}

proptest! {
    #[test]
    fn agrees_with_plain_arithmetic((text, dim) in tree(), n in 1i64..50, m in 1i64..50, i in 0i64..8) {
        let values: Bindings = [("N", n), ("M", m), ("i", i)].map(|(s, v)| (Symbol::new(s), v)).into();
        let expected = plain(&text, &|s| values[&Symbol::new(s)]);
        prop_assert_eq!(dim.eval(&values).unwrap(), expected);
        prop_assert_eq!(dim.bind(&values), Dim::from(expected));

        let printed = dim.to_string();
        prop_assert_eq!(parse_dim(&printed).unwrap(), dim.clone(), "{}", printed);

        let mut ranges = Ranges::default();
        ranges.set("N".into(), Range { lo: 1, hi: 50 });
        ranges.set("M".into(), Range { lo: 1, hi: 50 });
        ranges.set("i".into(), Range { lo: 0, hi: 7 });
        let bounds = ranges.bounds(&dim);
        prop_assert!(bounds.lo <= expected && expected <= bounds.hi);
        prop_assert_eq!(ranges.simplify(&dim).eval(&values).unwrap(), expected);
    }
}

#[test]
fn extrema_absorb_each_other() {
    let (n, limit) = (Dim::sym("N"), Dim::from(512i64));
    assert_eq!(n.minimum(&limit).maximum(&n), n);
    assert_eq!(n.maximum(&n.maximum(&limit).minimum(&n)), n);
    assert_ne!(n.minimum(&limit).minimum(&n), n);
}

#[test]
fn sums_are_divided_by_sums() {
    let dim = |text: &str| text.parse::<Dim>().unwrap();
    for (a, b, q) in [
        ("32*B + 32*B*((F - 1) / 2)", "4*B + 4*B*((F - 1) / 2)", Some("8")),
        ("N*N + 3*N + 2", "N + 1", Some("N + 2")),
        ("N*M + M*K + N*K + K*K", "N + K", Some("M + K")),
        ("N*N + 3*N + 3", "N + 1", None),
        ("N + 1", "N + 2", None),
    ] {
        assert_eq!(dim(a).exact_div(&dim(b)), q.map(dim), "({a}) / ({b})");
    }
}
