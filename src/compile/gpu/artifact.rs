//! The folder that a model for GPUs travels in.
//!
//! ```text
//! manifest.json          what is launched, and how
//! kernels/sm_80.ptx      the kernels for each target; .cubin beside it if they were assembled
//! weights.bin            the constants, each at a multiple of 4096
//! model.h, model.c       what loads and launches all this from C, if kernels alone make the model
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tcc_codegen::ptx::GpuTarget;
use tcc_ir::diag::Diags;
use tcc_runtime::cuda::{Manifest, Weight};
use tcc_runtime::model::Constant;

use super::super::Report;
use super::GpuModel;
use super::c_source::c_source;

/// Why a folder is no model for GPUs, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GpuArtifactError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What happened.
        error: std::io::Error,
    },
    /// It contradicts itself.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// Expected …, got ….
        message: String,
    },
    /// An op for the host is malformed.
    #[error("manifest.json: {0}")]
    Host(#[from] Diags),
}

/// Pages of most machines, so that each constant can be mapped by itself.
const ALIGN: u64 = 4096;

/// Where constants lie in the file of weights.
pub(super) fn layout(constants: &[Constant]) -> Vec<Weight> {
    let mut at = 0u64;
    let place = |constant: &Constant| {
        let bytes = (*constant.bytes).as_ref().len() as u64;
        let weight = Weight { offset: at, bytes };
        at = (at + bytes).next_multiple_of(ALIGN);
        weight
    };
    constants.iter().map(place).collect()
}

impl GpuModel {
    /// Writes the model to a folder, which is made if it is not there.
    pub fn write(&self, folder: &Path) -> Result<(), GpuArtifactError> {
        let io = |path: &Path| {
            let path = path.display().to_string();
            move |error| GpuArtifactError::Io { path, error }
        };
        let kernels = folder.join("kernels");
        std::fs::create_dir_all(&kernels).map_err(io(&kernels))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(io(&path))
        };
        let malformed = |e: serde_json::Error| GpuArtifactError::Malformed {
            path: "manifest.json".to_owned(),
            message: e.to_string(),
        };
        let mut manifest = serde_json::to_vec_pretty(&self.manifest).map_err(malformed)?;
        manifest.push(b'\n');
        write("manifest.json", &manifest)?;
        for (described, (_, text)) in self.manifest.targets.iter().zip(&self.ptx) {
            write(&described.file, text.as_bytes())?;
        }
        for (target, cubin) in &self.cubins {
            write(&format!("kernels/{target}.cubin"), cubin)?;
        }
        match c_source(&self.manifest) {
            Ok(c) => {
                write("model.h", c.header.as_bytes())?;
                write("model.c", c.source.as_bytes())?;
            }
            // What an earlier model left would not be this one's.
            Err(_) => {
                ["model.h", "model.c"].iter().for_each(|name| drop(std::fs::remove_file(folder.join(name))))
            }
        }
        let path = folder.join("weights.bin");
        let file = std::fs::File::create(&path).map_err(io(&path))?;
        let mut out = std::io::BufWriter::new(file);
        let mut at = 0u64;
        for (constant, weight) in self.constants.iter().zip(&self.manifest.weights) {
            let pad = vec![0u8; (weight.offset - at) as usize];
            out.write_all(&pad).map_err(io(&path))?;
            out.write_all((*constant.bytes).as_ref()).map_err(io(&path))?;
            at = weight.offset + weight.bytes;
        }
        out.flush().map_err(io(&path))
    }

    /// Reads a model back from its folder.
    pub fn open(folder: &Path) -> Result<GpuModel, GpuArtifactError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let failed = |error| GpuArtifactError::Io { path: path.display().to_string(), error };
            std::fs::read(&path).map_err(failed)
        };
        let malformed =
            |message: String| GpuArtifactError::Malformed { path: "manifest.json".to_owned(), message };
        let manifest: Manifest =
            serde_json::from_slice(&read("manifest.json")?).map_err(|e| malformed(e.to_string()))?;
        manifest.validate().map_err(malformed)?;
        let weights = Arc::new(read("weights.bin")?);
        let mut constants = Vec::new();
        for weight in &manifest.weights {
            let (start, end) = (weight.offset as usize, weight.offset.saturating_add(weight.bytes) as usize);
            if end > weights.len() || start > end {
                return Err(malformed(format!("expected weights below {}, got {end}", weights.len())));
            }
            constants.push(Constant { bytes: Arc::new(Part { all: Arc::clone(&weights), start, end }) });
        }
        let (mut ptx, mut cubins) = (Vec::new(), Vec::new());
        for described in &manifest.targets {
            let target: GpuTarget = described.name.parse().map_err(|e| malformed(format!("{e}")))?;
            // The file is named after the target, so that no manifest leads out of the folder.
            let text = String::from_utf8(read(&format!("kernels/{target}.ptx"))?);
            ptx.push((target, text.map_err(|e| malformed(e.to_string()))?));
            if described.cubin.is_some() {
                cubins.push((target, read(&format!("kernels/{target}.cubin"))?));
            }
        }
        let host = manifest.host.iter().map(|text| text.parse()).collect::<Result<Vec<_>, Diags>>()?;
        let report =
            Report { calls: manifest.steps.len(), kernels: manifest.kernels.len(), ..Report::default() };
        Ok(GpuModel { manifest, ptx, cubins, constants, host, report })
    }
}

/// Some of the bytes of a file.
struct Part {
    all: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.all[self.start..self.end]
    }
}
