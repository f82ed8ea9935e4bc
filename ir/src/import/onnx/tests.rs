//! Models built here with the importer's own messages.

use super::*;
use crate::graph::{Op, eval};
use crate::tensor::Tolerance;

fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    NodeProto {
        op_type: op.into(),
        name: format!("{op}_{}", outputs[0]),
        input: names(inputs),
        output: names(outputs),
        attribute,
        ..NodeProto::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: 2, ..AttributeProto::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type: 7, ..AttributeProto::default() }
}

fn info(name: &str, code: i32, dims: &[&str]) -> ValueInfoProto {
    let dim = |text: &&str| DimensionProto {
        value: Some(match text.parse() {
            Ok(number) => DimensionValue::Value(number),
            Err(_) => DimensionValue::Param((*text).to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: code, shape: Some(shape) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) }) }
}

fn longs(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 7,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    }
}

fn model(graph: GraphProto) -> ModelProto {
    let domain = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    ModelProto {
        ir_version: 8,
        opset_import: vec![domain("", 17), domain("own", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn import(model: &ModelProto) -> Result<Graph, Report> {
    import_bytes(model.encode_to_vec().into(), None, "test")
}

/// A matrix product whose operand is reshaped by arithmetic on the shape of the input.
fn reshaping() -> ModelProto {
    model(GraphProto {
        name: "main".into(),
        input: vec![info("x", 1, &["batch", "seq", "4"])],
        output: vec![info("y", 1, &["n", "2"])],
        initializer: vec![
            longs("zero", &[], &[0]),
            longs("one", &[], &[1]),
            longs("axes", &[1], &[0]),
            longs("rest", &[1], &[-1]),
            floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ],
        node: vec![
            node("Shape", &["x"], &["s"], vec![]),
            node("Gather", &["s", "zero"], &["b"], vec![int("axis", 0)]),
            node("Gather", &["s", "one"], &["t"], vec![int("axis", 0)]),
            node("Mul", &["b", "t"], &["bt"], vec![]),
            node("Add", &["bt", "bt"], &["bt2"], vec![]),
            node("Unsqueeze", &["bt2", "axes"], &["first"], vec![]),
            node("Concat", &["first", "rest"], &["target"], vec![int("axis", 0)]),
            node("Reshape", &["x", "target"], &["flat"], vec![]),
            node("MatMul", &["flat", "w"], &["y"], vec![]),
        ],
        ..GraphProto::default()
    })
}

#[test]
fn shape_arithmetic_leaves_no_trace() {
    let graph = import(&reshaping()).unwrap();
    let ops: Vec<Op> = graph.nodes().map(|(_, n)| n.op).collect();
    assert_eq!(ops, [Op::Reshape, Op::Const, Op::Dot], "{graph}");
    assert_eq!(graph.output_types().next().unwrap().shape.to_string(), "[2*batch*seq, 2]");
    let origin = graph.nodes().last().and_then(|(_, n)| n.origin.clone());
    assert_eq!(origin.as_deref(), Some("MatMul_y"));
    let x = Tensor::from_slice(&[1, 1, 4], &[1f32, 0.0, 0.0, 1.0]).unwrap();
    let y = eval::evaluate(&graph, &[x]).unwrap().remove(0);
    let wanted = Tensor::from_slice(&[2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap();
    assert!(y.compare(&wanted, Tolerance::EXACT).is_ok());
}

#[test]
fn every_problem_is_reported_and_what_follows_from_one_is_not() {
    let report = import(&model(GraphProto {
        input: vec![info("x", 1, &["2", "3"])],
        output: vec![info("c", 1, &[])],
        node: vec![
            node("Frobnicate", &["x"], &["a"], vec![]),
            node("Relu", &["a"], &["b"], vec![]),
            node("Transpose", &["x"], &["c"], vec![ints("perm", &[0, 7])]),
            node("Add", &["x", "nowhere"], &["d"], vec![]),
        ],
        ..GraphProto::default()
    }))
    .unwrap_err();
    let ops: Vec<&str> = report.problems.iter().map(|p| p.op.as_str()).collect();
    assert_eq!(ops, ["Frobnicate", "Transpose", "Add"], "{report}");
    assert_eq!(report.problems[1].operands, ["f32[2, 3]"]);
    assert_eq!(report.to_json()["problems"][0]["op"], "Frobnicate");
    assert!(report.to_string().contains("`Transpose_c`: Transpose (ai.onnx 17) of (f32[2, 3])"));
}

#[test]
fn functions_are_inlined_and_recursion_is_refused() {
    let mut inner = node("Twice", &["x"], &["y"], vec![]);
    inner.domain = "own".into();
    let function = |body: NodeProto| FunctionProto {
        name: "Twice".into(),
        domain: "own".into(),
        input: vec!["v".into()],
        output: vec!["w".into()],
        node: vec![body],
        opset_import: vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }],
        ..FunctionProto::default()
    };
    let graph = GraphProto {
        input: vec![info("x", 1, &["2"])],
        output: vec![info("y", 1, &["2"])],
        node: vec![inner.clone()],
        ..GraphProto::default()
    };
    let mut whole = model(graph);
    whole.functions = vec![function(node("Add", &["v", "v"], &["w"], vec![]))];
    let x = Tensor::from_slice(&[2], &[1f32, 2.0]).unwrap();
    let y = eval::evaluate(&import(&whole).unwrap(), &[x]).unwrap().remove(0);
    assert_eq!(y.to_vec_f64().unwrap(), [2.0, 4.0]);
    inner.input = vec!["v".into()];
    inner.output = vec!["w".into()];
    whole.functions = vec![function(inner)];
    assert!(import(&whole).unwrap_err().to_string().contains("does not call itself"));
}

#[test]
fn damaged_models_give_graphs_or_reports() {
    let bytes = reshaping().encode_to_vec();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut reports = 0;
    for i in 0..1000 {
        let mut mutant = bytes.clone();
        if i % 4 == 0 {
            mutant.truncate(random(bytes.len()));
        } else {
            for _ in 0..=i % 3 {
                mutant[random(bytes.len())] ^= 1 << random(8);
            }
        }
        match import_bytes(mutant.into(), None, "mutant") {
            Ok(graph) => graph.verify().unwrap(),
            Err(report) => {
                assert!(!report.problems.is_empty());
                reports += 1;
            }
        }
    }
    assert!(reports >= 200, "{reports}");
}

#[test]
fn tensors_that_claim_more_than_the_file_holds_are_refused() {
    let mut whole = reshaping();
    if let Some(graph) = &mut whole.graph {
        graph.initializer[4].dims = vec![1 << 30, 1 << 30];
    }
    assert!(import(&whole).unwrap_err().to_string().contains("initializer `w`"));
}

/// Two open extents are added; the model says what comes of it, or something else of a value that needs no word.
#[test]
fn stated_extents_decide_only_what_inference_leaves_open() {
    let build = |stated: &[&str]| {
        model(GraphProto {
            name: "main".into(),
            input: vec![info("x", 1, &["a", "4"]), info("y", 1, &["b", "4"])],
            output: vec![info("z", 1, &["a", "4"])],
            node: vec![
                node("Add", &["x", "y"], &["sum"], vec![]),
                node("Relu", &["x"], &["r"], vec![]),
                node("Add", &["sum", "r"], &["z"], vec![]),
            ],
            value_info: vec![info("sum", 1, stated), info("r", 1, &["b", "4"])],
            ..GraphProto::default()
        })
    };
    let shape = |model: &ModelProto| import(model).unwrap().output_types().next().unwrap().shape.to_string();
    assert_eq!(shape(&build(&["a", "4"])), "[a, 4]");
    // A name that no input has says nothing; the output's own shape decides.
    assert_eq!(shape(&build(&["c", "4"])), "[a, 4]");
    let graph = import(&build(&["a", "4"])).unwrap();
    let tensor = |rows: usize| Tensor::zeros(crate::dtype::DType::F32, &[rows, 4]).unwrap();
    assert!(eval::evaluate(&graph, &[tensor(3), tensor(3)]).is_ok());
    assert!(eval::evaluate(&graph, &[tensor(3), tensor(1)]).is_ok());
    assert!(eval::evaluate(&graph, &[tensor(1), tensor(3)]).is_err());
}
