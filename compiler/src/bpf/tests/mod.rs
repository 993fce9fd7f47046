//! Tests of the back end as a whole; `filetests` compares text, `fuzz` results.

mod filetests;
mod fuzz;
mod generate;
mod kernel;
mod results;
