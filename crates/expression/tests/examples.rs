//! Worked examples of the language, as tables: text in, result or error code out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]

use serde_json::{Value, json};
use sortie_expression::{Evaluator, JsonContext};

fn context() -> JsonContext {
    JsonContext::new(json!({
        "a": 5, "b": 12, "n": "7", "m": "10", "f": "abc", "g": "def", "t": "true", "fs": "false",
        "es": "", "ver": "1.10", "tb": true, "d": 3.5, "list": ["x", "y", "z"], "csv": "a,b,c",
        "map": {"k": "v", "k-2": "w", "num": 3, "nested": {"z": 1}, "sp ace": "q"},
        "js": "{\"a\":{\"b\":\"c\"},\"l\":[1,2]}",
        "ref": "<+f>-1", "arith": "<+a> + 2", "sum": "<+<+a> + 2>", "whole": "<+list>",
        "v1": "<+v2>", "v2": "<+v3>", "v3": "end", "loop": "<+loop>", "tick": "<+tock>",
        "tock": "x<+tick>", "url": "https://h/x", "h": "v9", "variables": {"v9": "x", "db_v9": "y"},
        "deep": {"inner": ["<+f>", {"x": "<+b>"}]}, "nil": null, "seven": "v7", "root": "map",
        "broken": "<+f +>", "undefinedInside": "a <+nope>",
    }))
}

/// Evaluates as text: the result, or `!` and the error code.
fn text(text: &str) -> String {
    let now = "2026-08-01T10:20:30.123Z".parse().unwrap();
    match Evaluator::new(&context()).at(now).text(text) {
        Ok(result) => result,
        Err(error) => format!("!{}", error.code().trim_start_matches("SRT-")),
    }
}

fn check(rows: &[(&str, &str)]) {
    let mut wrong = 0;
    for (input, expected) in rows {
        let result = text(input);
        if result != *expected {
            eprintln!("{input}\n  expected {expected}\n  but got  {result}");
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0, "rows differ");
}

#[test]
fn values() {
    check(&[
        ("<+f>", "abc"),
        ("<+ f >", "abc"),
        ("<+\n  f\n>", "abc"),
        ("<+a>", "5"),
        ("<+d>", "3.5"),
        ("<+tb>", "true"),
        ("<+a> + <+b>", "5 + 12"),
        (
            "<+map>",
            r#"{"k":"v","k-2":"w","num":3,"nested":{"z":1},"sp ace":"q"}"#,
        ),
        ("v=<+list>", r#"v=["x","y","z"]"#),
        ("<+es>", ""),
        ("x<+es>y", "xy"),
        ("<+>", ""),
        ("a > b", "a > b"),
        ("${x} $(y) <a>", "${x} $(y) <a>"),
    ]);
}

#[test]
fn operators() {
    check(&[
        ("<+<+a> + <+b>>", "17"),
        ("<+<+n> + <+m>>", "710"),
        ("<+<+n> + 1>", "71"),
        ("<+<+a> + \"1\">", "51"),
        ("<+<+n> * 2>", "14"),
        ("<+<+n> - 2>", "5"),
        ("<+10 / 4>", "2"),
        ("<+10.0 / 4>", "2.5"),
        ("<+5 % 3>", "2"),
        ("<+1 + 2 * 3>", "7"),
        ("<+(1 + 2) * 3>", "9"),
        ("<+10 - 3 - 2>", "5"),
        ("<+-<+a>>", "-5"),
        ("<+<+d> * 2>", "7.0"),
        ("<+<+d> + 1>", "4.5"),
        ("<+0x1F>", "31"),
        ("<+\"3\" * \"4\">", "12"),
        ("<+\"1\" + 1>", "11"),
        ("<+map.num + 1>", "4"),
        ("<+<+map.num> + 1>", "4"),
        ("<+<+n> * 1>", "7"),
        ("<+not <+tb>>", "false"),
        ("<+!<+tb>>", "false"),
        ("<+!!<+tb>>", "true"),
        ("<+1 / 0>", "!X003"),
        ("<+1.0 / 0>", "!X003"),
        ("<+9223372036854775807 + 1>", "!X003"),
        ("<+9223372036854775808>", "!X001"),
        ("<+<+f> * 2>", "!X003"),
        ("<+<+tb> + 1>", "!X003"),
        ("<+<+list> + 1>", "!X003"),
        ("<+map.k-2>", "!X003"),
    ]);
}

#[test]
fn greater_than() {
    check(&[
        ("<+<+n> gt 5>", "true"),
        ("<+<+n> \\> 5>", "true"),
        ("<+<+n> \\>= 7>", "true"),
        ("<+<+n> > 5>", "true"),
        ("<+<+a> >= 5>", "true"),
        ("<+<+a> > 5>", "false"),
        ("<+(<+a> > 4) && <+b> > 4 ? \"y\" : \"n\">", "y"),
        ("<+<+f>.replace(\">\",\"\")>", "abc"),
        ("<+\"a>b\">", "a>b"),
        ("<+\"a\\>b\">", "a>b"),
        ("<<+f>>", "<abc>"),
        ("<+f>>", "abc>"),
        ("<+f> > <+g>", "abc > def"),
        ("<+ f > 5>", "abc 5>"),
        ("if <+a> > 3 then x > 2", "if 5 > 3 then x > 2"),
        ("<+f>=5>", "abc=5>"),
        ("<p><+f ></p>", "<p>abc</p>"),
        ("a <+f> -> b <+g> -> c", "a abc -> b def -> c"),
    ]);
}

#[test]
fn comparison() {
    check(&[
        ("<+<+n> < <+m>>", "true"),
        ("<+<+m> lt <+n>>", "false"),
        ("<+<+f> lt <+g>>", "!X003"),
        ("<+<+n> == 7>", "true"),
        ("<+<+a> == \"5\">", "true"),
        ("<+<+ver> == 1.1>", "true"),
        ("<+<+ver> == \"1.1\">", "false"),
        ("<+<+t> == true>", "true"),
        ("<+<+tb> == \"true\">", "true"),
        ("<+<+f> == true>", "false"),
        ("<+<+f> == false>", "false"),
        ("<+<+fs> == false>", "true"),
        ("<+<+fs> == true>", "false"),
        ("<+<+f> == \"abc\">", "true"),
        ("<+f == 'abc'>", "true"),
        ("<+<+f> != \"abc\">", "false"),
        ("<+<+f> eq \"abc\" and <+a> gt 4>", "true"),
        ("<+<+f> ne \"abc\" or <+a> ge 6>", "false"),
        ("<+<+es> == \"\">", "true"),
        ("<+null == null>", "true"),
        ("<+<+list> == [\"x\",\"y\",\"z\"]>", "true"),
        ("<+<+f> =~ \"a.*\">", "true"),
        ("<+<+f> =~ \"b\">", "false"),
        ("<+<+f> =~ \"b|ab\">", "false"),
        ("<+<+f> !~ \"b\">", "true"),
        ("<+<+f> =~ /a.c/>", "!X001"),
        ("<+<+f> =~ \"(\">", "!X003"),
        ("<+<+f> =^ \"a\">", "true"),
        ("<+<+f> =$ \"c\">", "true"),
        ("<+<+f> !^ \"a\">", "false"),
        ("<+\"y\" =~ <+list>>", "true"),
        ("<+\"q\" !~ <+list>>", "true"),
        ("<+\"k\" =~ <+map>>", "true"),
        ("<+\"abc\" =~ [\"<+f>\",\"All\"]>", "true"),
    ]);
}

#[test]
fn choices() {
    check(&[
        ("<+<+fs>?\"y\":\"n\">", "n"),
        ("<+<+f>?\"y\":\"n\">", "y"),
        ("<+<+a>==5?\"yes\":\"no\">", "yes"),
        ("<+<+a> == 5 ? \"yes\" : \"no\">", "yes"),
        ("<+<+a> == 5 ? <+f> : <+g>>", "abc"),
        ("<+<+a>==5?<+f>:<+g>>:x", "abc:x"),
        (
            "<+<+a> == 1 ? \"one\" : <+a> == 5 ? \"five\" : \"many\">",
            "five",
        ),
        ("<+<+es> ?: \"d\">", "d"),
        ("<+<+f> ?: \"d\">", "abc"),
        ("<+<+nope> ?: <+alsonope> ?: \"d\">", "d"),
        ("<+<+list> ?: \"d\">", r#"["x","y","z"]"#),
        ("<+<+list> ? 1 : 2>", "!X003"),
        ("<+<+tb> ? \"a\" : <+nope>>", "a"),
    ]);
}

#[test]
fn undefined_names() {
    check(&[
        ("<+nope>", "!X002"),
        ("x-<+nope>", "!X002"),
        ("<+map.nope>", "!X002"),
        ("<+list[5]>", "!X002"),
        ("<+a.b.c>", "!X002"),
        ("<+map.get('zz')>", "!X002"),
        ("<+nil>", "!X002"),
        ("<+<+nope> == null>", "true"),
        ("<+nope == null>", "true"),
        ("<+null != <+map.nope>>", "false"),
        ("<+<+nil> == null>", "true"),
        ("<+<+f> == null>", "false"),
        ("<+<+nope> == \"x\">", "!X002"),
        ("<+<+nope> ?: \"d\">", "d"),
        ("<+<+nope> != null ? <+nope> : \"d\">", "d"),
        ("<+empty(<+nope>)>", "true"),
        ("<+empty <+nope>>", "true"),
        ("<+size(<+nope>)>", "0"),
        ("<+<+nope> + \"x\">", "!X002"),
        ("<+<+nope>.length()>", "!X002"),
        ("<+!<+nope>>", "!X002"),
        ("<+<+nope> && true>", "!X002"),
        ("<+<+nope> gt 1>", "!X002"),
        ("<+<+nope>-1>", "!X002"),
        ("<+<+a> == 6 && <+nope> == 1>", "false"),
        ("<+<+f> == \"abc\" || <+nope> == \"x\">", "true"),
        ("<+undefinedInside>", "!X002"),
        ("<+currentDate>", "!X002"),
    ]);
}

#[test]
fn paths() {
    check(&[
        ("<+map.k>", "v"),
        ("<+map.get(\"k-2\")>", "w"),
        ("<+map[\"k-2\"]>", "w"),
        ("<+map.\"sp ace\">", "q"),
        ("<+map.nested.z>", "1"),
        ("<+<+map>.nested.z>", "1"),
        ("<+list[1]>", "y"),
        ("<+list[<+a> - 4]>", "y"),
        ("<+list.get(0)>", "x"),
        ("<+list.size()>", "3"),
        ("<+variables.<+h>>", "x"),
        ("<+variables.db_<+h>>", "y"),
        ("<+variables[<+h>]>", "x"),
        ("<+variables.get(<+h>)>", "x"),
        ("<+<+root>.k>", "v"),
        ("<+<+root>.nested.z>", "1"),
        ("<+deep>", r#"{"inner":["abc",{"x":12}]}"#),
        ("<+deep.inner[1].x>", "12"),
        ("<+<+f>[0]>", "!X003"),
    ]);
}

#[test]
fn text_inside_expressions() {
    check(&[
        ("<+<+f><+g>>", "abcdef"),
        ("<+f><+g>", "abcdef"),
        ("<+<+f> + \"-\" + <+g>>", "abc-def"),
        ("<+<+f>+<+g>>", "abcdef"),
        ("<+<+f>-<+g>>", "abc-def"),
        ("<+<+f>_<+g>>", "abc_def"),
        ("<+<+f>.<+g>.svc.local:80>", "abc.def.svc.local:80"),
        ("<+<+f>.<+g>.svc>", "abc.def.svc"),
        ("<+<+n>-alpha>", "7-alpha"),
        ("<+v<+n>>", "v7"),
        ("<+<+n>-<+m>>", "-3"),
        ("<+f>-<+g>", "abc-def"),
        ("<+\"<+f>-<+g>\">", "abc-def"),
        ("<+'it is <+f>'>", "it is abc"),
        ("<+url>/p", "https://h/x/p"),
        ("<+<+url>/p>", "https://h/x/p"),
        ("<+<+f>: <+g>>", "abc: def"),
        ("Env: <+f>, svc <+g>", "Env: abc, svc def"),
        ("<+<+f>'s>", "abc's"),
        ("<+<+f>+>", "!X001"),
        ("<+<+f> == >", "!X001"),
        ("<+<+f>.substring(0,>", "!X001"),
    ]);
}

#[test]
fn delimiters() {
    check(&[
        ("<+a", "<+a"),
        ("plain <+ text", "plain <+ text"),
        ("<+<+f>", "!X009"),
        ("<+a and <+f>", "!X009"),
        ("$<+f>", "$abc"),
        ("\\<+f>", "\\abc"),
        ("a\\>b <+f>", "a\\>b abc"),
        ("<+\"say \\\"hi\\\"\">", "say \"hi\""),
        ("<+\"a\\tb\">", "a\\tb"),
        ("<+if (<+a> == 5) { \"five\" } else { \"other\" }>", "!X001"),
        ("<+var s = 0; s>", "!X001"),
        ("<+new(\"java.lang.String\", \"x\")>", "!X001"),
        ("<+f f>", "!X001"),
        ("<+f(>", "!X001"),
        ("<+#>", "!X001"),
    ]);
}

#[test]
fn values_that_hold_expressions() {
    check(&[
        ("<+ref>", "abc-1"),
        ("p-<+ref>", "p-abc-1"),
        ("<+v1>", "end"),
        ("<+arith>", "5 + 2"),
        ("<+sum>", "7"),
        ("<+<+sum> + 1>", "8"),
        ("<+<+whole>.size()>", "3"),
        ("<+loop>", "!X005"),
        ("<+tick>", "!X005"),
        ("<+broken>", "!X001"),
    ]);
}

#[test]
fn methods() {
    check(&[
        ("<+<+list>.contains(\"x\")>", "true"),
        ("<+<+list>.indexOf(\"y\")>", "1"),
        ("<+<+list>.isEmpty()>", "false"),
        ("<+<+list>.toString()>", "[x, y, z]"),
        ("<+<+list>.join(\",\")>", "x,y,z"),
        ("<+<+f>.join(\"-\", <+list>)>", "x-y-z"),
        ("<+csv.split(\",\")[1]>", "b"),
        ("<+<+csv>.split(\",\")[1]>", "b"),
        ("<+<+csv>.split(\",\")>", r#"["a","b","c"]"#),
        ("<+<+csv>.split(\",\").size()>", "3"),
        ("<+<+csv>.split(\",\")[3]>", "!X002"),
        ("<+\"a,b,,\".split(\",\").size()>", "2"),
        ("<+<+f>.toUpperCase()>", "ABC"),
        ("<+f.toUpperCase()>", "ABC"),
        ("<+<+f>.substring(1)>", "bc"),
        ("<+<+f>.substring(0,2)>", "ab"),
        ("<+<+f>.length()>", "3"),
        ("<+<+f>.substring(5)>", "!X010"),
        ("<+<+f>.concat(\"-x\")>", "abc-x"),
        ("<+<+f>.concat(\"-\",\"x\")>", "!X004"),
        ("<+<+f>.replace(\"b\",\"\")>", "ac"),
        ("<+<+f>.replaceAll(\"[a-b]\",\"\")>", "c"),
        ("<+<+f>.replaceAll(\"(a)(b)\",\"$2_$1\")>", "b_ac"),
        ("<+<+f>.replaceAll(\"a\",\"$1\")>", "!X010"),
        ("<+<+f>.replaceFirst(\"[a-c]\",\"-\")>", "-bc"),
        ("<+<+f>.contains(\"b\")>", "true"),
        ("<+<+f>.startsWith(\"a\")>", "true"),
        ("<+<+f>.endsWith(\"a\")>", "false"),
        ("<+<+f>.equalsIgnoreCase(\"ABC\")>", "true"),
        ("<+<+f>.matches(\"a.*\")>", "true"),
        ("<+<+n>.equals(7)>", "false"),
        ("<+<+f>.charAt(0)>", "a"),
        ("<+<+f>.indexOf(\"z\")>", "-1"),
        ("<+<+f>.lastIndexOf(\"c\")>", "2"),
        ("<+<+f>.repeat(2)>", "abcabc"),
        ("<+<+f>.repeat(1000000000)>", "!X010"),
        ("<+\" x \".trim()>", "x"),
        ("<+<+f>.trim().toUpperCase().length()>", "3"),
        ("<+<+f>.nope()>", "!X004"),
        ("<+<+f>.getClass()>", "!X004"),
        ("<+Integer.parseInt(<+n>)>", "!X002"),
        ("<+empty(<+es>)>", "true"),
        ("<+size(<+list>)>", "3"),
        ("<+size(<+f>) + 1>", "4"),
        ("<+1..3>", "[1,2,3]"),
        ("<+[1,2,3]>", "[1,2,3]"),
        ("<+{\"a\":1}>", "{\"a\":1}"),
        ("<+{\"a\":{\"b\":2}}.a.b>", "2"),
        ("<+1..100000>", "!X003"),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("<+json.select(\"a.b\", <+js>)>", "c"),
        ("<+json.select(\"$.a.b\", <+js>)>", "c"),
        ("<+json.select(\"$.a['b']\", <+js>)>", "c"),
        ("<+json.select(\"a\", <+js>)>", "{\"b\":\"c\"}"),
        ("<+json.list(\"l\", <+js>)[1]>", "2"),
        ("<+json.select(\"l[1]\", <+js>)>", "2"),
        ("<+json.select(\"l.length()\", <+js>)>", "2"),
        ("<+json.object(<+js>).a.b>", "c"),
        ("<+json.format(<+map.nested>)>", "{\"z\":1}"),
        ("<+json.select(\"a.zz\", <+js>)>", "!X010"),
        ("<+json.select(\"a.b\",\"not json\")>", "!X010"),
        ("<+json.select(\"l[*]\", <+js>)>", "!X010"),
        ("<+regex.extract(\"[0-9]+\",\"v12.3\")>", "12"),
        ("<+regex.extract(\"z\", <+f>)>", ""),
        ("<+regex.match(\"b\", <+f>)>", "true"),
        ("<+regex.replace(\"-\",\"_\",\"a-b-c\")>", "a_b_c"),
        ("<+currentDate()>", "2026-08-01"),
        ("<+currentDate().plusDays(1)>", "2026-08-02"),
        ("<+datetime.currentDate().plusMonths(-6)>", "2026-02-01"),
        ("<+currentTime()>", "2026-08-01T10:20:30.123+0000"),
        (
            "<+currentTime().plusHours(20)>",
            "2026-08-02T06:20:30.123+0000",
        ),
        ("<+currentTime().plusYears(99999999)>", "!X010"),
        ("<+nope()>", "!X004"),
        ("<+secrets.getValue(\"x\")>", "!X008"),
    ]);
}

#[test]
fn typed() {
    let error = |code: &str| Value::String(format!("!{code}"));
    let rows = [
        ("<+a>", json!(5)),
        ("<+list>", json!(["x", "y", "z"])),
        ("<+<+csv>.split(\",\")>", json!(["a", "b", "c"])),
        ("<+a> + <+b>", json!(17)),
        ("<+a> == 5 && <+f> == \"abc\"", json!(true)),
        ("<+f> == \"abc\"", json!(true)),
        ("a > b", json!(false)),
        ("b > a", json!(true)),
        ("b >= 12", json!(true)),
        ("true", json!(true)),
        ("[<+a>, \"<+f>\"]", json!([5, "abc"])),
        ("<+f>-<+g>", json!("abc-def")),
        ("<+json.select(\"a\", <+js>)>", json!({"b": "c"})),
        ("<+nil>", Value::Null),
        ("<+sum>", json!(7)),
        ("<+nope>", error("X002")),
        ("<+a", error("X009")),
        ("<+<+f>", error("X009")),
        ("f f", error("X001")),
    ];
    let context = context();
    for (text, expected) in rows {
        let result = sortie_expression::evaluate_typed(text, &context);
        let result = result.unwrap_or_else(|e| error(e.code().trim_start_matches("SRT-")));
        assert_eq!(result, expected, "{text}");
    }
}

#[test]
fn conditions() {
    let context = context();
    let evaluator = Evaluator::new(&context);
    assert!(evaluator.condition("<+t>").unwrap());
    assert!(!evaluator.condition("<+a> == 6").unwrap());
    for text in ["<+f>", "<+a>", "<+nil>", "<+list>"] {
        assert_eq!(
            evaluator.condition(text).unwrap_err().code(),
            "SRT-X003",
            "{text}"
        );
    }
}

#[test]
fn trees() {
    let tree = json!({"<+f>": "<+f>-x", "n": "<+a>", "l": ["<+list>", 1, null, "plain"]});
    let result = sortie_expression::evaluate_tree(&tree, &context()).unwrap();
    let expected = json!({"<+f>": "abc-x", "n": 5, "l": [["x", "y", "z"], 1, null, "plain"]});
    assert_eq!(result, expected);
}
