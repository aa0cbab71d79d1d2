//! One file per page of `src/web/pages`: what a person sees and can do.

mod rides;
