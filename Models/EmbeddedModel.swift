/// Carries the embedded model's files as resources of the package; `ModelSource.embedded` finds them.
enum EmbeddedModel {}
