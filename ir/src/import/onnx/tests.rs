//! Models built here with the importer's own messages.

use super::*;
