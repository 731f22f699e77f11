/// Something worth knowing about a checkpoint that is no error.
package struct CheckpointRemark: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: Sendable, Hashable {
        /// For logs and for `fastvlm inspect`: nothing depends on it.
        case notice
        /// Another reading of the files would give other answers, so whoever asks should know.
        case changesAnswers
    }

    package let severity: Severity
    package let description: String

    static func notice(_ text: String) -> CheckpointRemark { .init(severity: .notice, description: text) }

    static func changesAnswers(_ text: String) -> CheckpointRemark {
        .init(severity: .changesAnswers, description: text)
    }
}
