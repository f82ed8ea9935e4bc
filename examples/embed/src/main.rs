//! Runs a compiled model with the runtime alone: no compiler is in this program.
//!
//! ```text
//! tcc compile examples/mlp.json --target x86-64-v2,x86-64-v3,x86-64-v4 -o mlp.tcc
//! cargo run --release -p embed -- mlp.tcc 3
//! ```
//!
//! The second argument is the value of every extent that the model leaves open. Inputs are counted up from zero in
//! steps of 1/64; the first elements of every output are printed.

#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tcc_runtime::artifact::Artifact;
use tcc_runtime::model::{Executable, Means, Param, Session, TensorView, TensorViewMut};
use tcc_runtime::threads::{Pool, PoolConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected the path of an artifact")?;
    let open_extent: i64 = arguments.next().map_or(Ok(1), |text| text.parse())?;

    // The file is checked, and the code chosen that makes the most of this processor.
    let variant = Artifact::open(Path::new(&path))?.choose()?;
    println!("code for {} by {}", variant.target, variant.backend);

    // The executable is shared by all callers; a session is one caller's memory.
    let executable = Arc::new(Executable::new(variant.model)?);
    let mut session = Session::new(Arc::clone(&executable));
    let pool = Pool::new(&PoolConfig::with_threads(2))?;

    let symbols = vec![Some(open_extent); executable.model().symbols.len()];
    let shape = |param: &Param| -> Result<Vec<usize>, Box<dyn Error>> {
        let extent = param.shape.iter().map(|e| e.size(&symbols).ok_or("expected an extent that is known"));
        Ok(extent.collect::<Result<_, _>>()?)
    };
    let inputs = executable.model().inputs.iter().map(|param| {
        let shape = shape(param)?;
        let count: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..count).flat_map(|i| (i as f32 / 64.0).to_le_bytes()).collect();
        Ok((param.dtype.clone(), shape, bytes))
    });
    let inputs = inputs.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let outputs = executable.model().outputs.iter().map(|param| {
        let shape = shape(param)?;
        let bytes = shape.iter().product::<usize>() * param.bits as usize / 8;
        Ok((param.dtype.clone(), shape, vec![0u8; bytes]))
    });
    let mut outputs = outputs.collect::<Result<Vec<_>, Box<dyn Error>>>()?;

    // Nothing is copied, and from the second run on nothing is allocated.
    for _ in 0..2 {
        let inputs: Vec<TensorView<'_>> =
            inputs.iter().map(|(dtype, shape, bytes)| TensorView { dtype, shape, bytes }).collect();
        let mut outputs: Vec<TensorViewMut<'_>> =
            outputs.iter_mut().map(|(dtype, shape, bytes)| TensorViewMut { dtype, shape, bytes }).collect();
        session.run_into(&inputs, &mut outputs, &Means::threads(&pool))?;
    }

    for (param, (dtype, shape, bytes)) in executable.model().outputs.iter().zip(&outputs) {
        let (floats, _) = bytes.as_chunks::<4>();
        let first: Vec<f32> = floats.iter().take(4).map(|f| f32::from_le_bytes(*f)).collect();
        println!("{}: {dtype}{shape:?} {first:?}", param.name);
    }
    Ok(())
}
