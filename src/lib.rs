//! Measure a network endpoint the way an outsider sees it.
