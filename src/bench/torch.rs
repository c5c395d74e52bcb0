//! PyTorch's own times of the same convolutions, as `benches/torch_convolutions.py` wrote them: they say whether cuDNN was measured rightly.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// How far cuDNN's best engine may lie from PyTorch's convolution, as a part of the latter, for a row to count.
const TOLERANCE: f64 = 0.1;

/// Whether a comparison with cuDNN counts: its time is PyTorch's, within 10 %.
pub fn counts(cudnn_ms: f64, torch_ms: f64) -> bool {
    (cudnn_ms - torch_ms).abs() <= TOLERANCE * torch_ms
}

/// Times by the id of the case.
#[derive(Debug)]
pub struct TorchTimes {
    pub torch: String,
    ms: HashMap<String, f64>,
}

#[derive(Deserialize)]
struct File {
    torch: String,
    device: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    ms: f64,
}

impl TorchTimes {
    /// Reads the file, which has to be of a device of this name.
    ///
    /// # Errors
    /// If it cannot be read, is no such file, or was measured on another device.
    pub fn read(path: &Path, device: &str) -> Result<TorchTimes> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::data(path, "cannot be read").caused_by(e))?;
        let file: File = serde_json::from_str(&text).map_err(|e| {
            Error::data(path, "holds no times of benches/torch_convolutions.py")
                .caused_by(e)
                .remedy("write it anew with that script")
        })?;
        if file.device != device {
            let message = format!("was measured on {}, this is {device}", file.device);
            return Err(Error::data(path, message).remedy("measure PyTorch in the same run, on the same device"));
        }
        Ok(TorchTimes { torch: file.torch, ms: file.rows.into_iter().map(|row| (row.id, row.ms)).collect() })
    }

    pub fn ms(&self, id: &str) -> Option<f64> {
        self.ms.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_percent_either_way() {
        for (cudnn, torch, expected) in
            [(1.0, 1.0, true), (1.09, 1.0, true), (0.91, 1.0, true), (1.11, 1.0, false), (0.89, 1.0, false), (2.0, 1.9, true)]
        {
            assert_eq!(counts(cudnn, torch), expected, "{cudnn} {torch}");
        }
        assert!(!counts(f64::NAN, 1.0) && !counts(1.0, f64::NAN));
    }

    #[test]
    fn times_are_read_for_this_device_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torch.json");
        let text = r#"{"torch": "2.9", "device": "NVIDIA H100", "rows": [{"id": "conv2d 3x3", "ms": 0.25, "spread": 0.01}]}"#;
        std::fs::write(&path, text).unwrap();
        let times = TorchTimes::read(&path, "NVIDIA H100").unwrap();
        assert_eq!((times.ms("conv2d 3x3"), times.ms("conv2d 1x1"), &*times.torch), (Some(0.25), None, "2.9"));
        let error = TorchTimes::read(&path, "NVIDIA H200").unwrap_err();
        assert!(error.to_string().contains("NVIDIA H100"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(TorchTimes::read(&path, "NVIDIA H100").is_err());
        assert!(TorchTimes::read(&folder.path().join("none.json"), "NVIDIA H100").is_err());
    }
}
