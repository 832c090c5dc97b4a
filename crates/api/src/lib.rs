//! The custom resources of the Flux groups.
