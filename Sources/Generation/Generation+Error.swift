package import StructuredOutput

/// What can go wrong between a question and its answer, apart from the files and images themselves.
package enum GenerationError: Error, Sendable, Equatable {
    /// A template needs a special token that the tokenizer does not have.
    case missingSpecialToken(template: String, token: String)
    /// The sequence would be longer than the model's context.
    case contextExceeded(needed: Int, limit: Int)
    /// An option outside its range.
    case invalidOption(name: String, expected: String, got: String)
    /// Text that asks for placeholders names more or fewer than there are images.
    case placeholderMismatch(placeholders: Int, images: Int)
    /// A prompt without text and without images.
    case emptyPrompt
    /// A conversation whose turns do not alternate, or that ends with an assistant's turn.
    case invalidConversation(reason: String)
    /// A conversation template that does not exist.
    case unknownTemplate(got: String, known: [String])
    /// The network produced values that are not numbers: the weights are damaged or belong to another model.
    case notANumber(position: Int)
    /// No token of the vocabulary goes on with an answer of the format that was asked for.
    case format(StructuredOutputError)
    /// The request's time was over before its answer.
    case deadlineExceeded
}

extension GenerationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingSpecialToken(let template, let token):
            "the template \(template) needs the token \(token), which this tokenizer does not have; "
                + "choose another template or check the tokenizer's files"
        case .contextExceeded(let needed, let limit):
            "the prompt takes \(needed) positions, the context has \(limit); "
                + "use fewer images, a lower resolution or a shorter text"
        case .invalidOption(let name, let expected, let got):
            "\(name) must be \(expected), got \(got)"
        case .placeholderMismatch(let placeholders, let images):
            "the text has \(placeholders) <image> placeholders for \(images) images; "
                + "write exactly one for each image"
        case .emptyPrompt:
            "the prompt has neither text nor image; give at least one"
        case .invalidConversation(let reason):
            "the conversation is not valid: \(reason)"
        case .unknownTemplate(let got, let known):
            "there is no conversation template \(got); choose one of \(known.joined(separator: ", "))"
        case .notANumber(let position):
            "the network produced values that are not numbers at position \(position); "
                + "the checkpoint is damaged or belongs to another configuration"
        case .format(let error): "\(error)"
        case .deadlineExceeded:
            "the request's time was over before its answer was complete"
        }
    }
}
