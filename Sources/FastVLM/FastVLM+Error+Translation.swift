internal import Checkpoints
internal import Generation
internal import ImageInput
internal import StructuredOutput
internal import SystemFiles
internal import Tensors
internal import Tokenization

extension FastVLMError {
    /// An error of the modules below as the public one; a cancellation becomes `CancellationError`.
    static func translating(_ error: any Error) -> any Error {
        switch error {
        case is FastVLMError, is CancellationError: error
        case TensorError.cancelled, OutputError.cancelled, CheckpointError.output(.cancelled),
            CheckpointError.tensor(.cancelled):
            CancellationError()
        // Where the machine has no more memory or files to open, nothing else is at fault.
        case _ where reason(of: error)?.isExhaustion == true: FastVLMError(.systemLimit, "\(error)")
        case let error as ImageInputError: translating(error)
        case let error as GenerationError: translating(error)
        case let error as CheckpointError: translating(error)
        case is StructuredOutputError: FastVLMError(.invalidOption, "\(error)", option: "format")
        case let error as TokenizationError: translating(error)
        case let error as TensorError: translating(error)
        case is OutputError: FastVLMError(.output, "\(error)")
        default: FastVLMError(.systemLimit, "\(error)")
        }
    }

    private static func translating(_ error: ImageInputError) -> FastVLMError {
        let text = "\(error)"
        switch error {
        case .unreadable: return FastVLMError(.unreadableImage, text)
        case .fileTooLarge(let bytes, let limit):
            return FastVLMError(
                .imageTooLarge, text, needed: bytes, limit: limit, option: "maximumFileBytes")
        case .sideTooLong(_, let width, let height, let limit):
            return FastVLMError(
                .imageTooLarge, text, needed: max(width, height), limit: limit, option: "maximumSide")
        case .tooManyPixels(_, let width, let height, let limit):
            let (pixels, overflow) = width.multipliedReportingOverflow(by: height)
            return FastVLMError(
                .imageTooLarge, text, needed: overflow ? nil : pixels, limit: limit, option: "maximumPixels")
        case .tooMuchMemory(_, _, _, let bytes, let limit):
            return FastVLMError(
                .imageTooLarge, text, needed: bytes, limit: limit, option: "maximumImageBytes")
        case .overLimit: return FastVLMError(.imageTooLarge, text)
        case .outOfMemory: return FastVLMError(.outOfMemory, text)
        case .unsupportedFormat, .formatNotEnabled, .formatNotBuilt, .unknownFormat, .unsupportedVariant,
            .missingLibrary:
            return FastVLMError(.unsupportedImage, text)
        case .empty, .truncated, .corrupt, .invalidImage: return FastVLMError(.invalidImage, text)
        // All but the image's sides are the checkpoint's.
        case .invalidParameter(let name, _, _):
            return FastVLMError(name == "image" ? .unsupportedImage : .checkpoint, text)
        }
    }

    private static func translating(_ error: GenerationError) -> FastVLMError {
        let text = "\(error)"
        switch error {
        case .contextExceeded(let needed, let limit):
            return FastVLMError(.contextExceeded, text, needed: needed, limit: limit)
        case .invalidOption(let name, _, _):
            return FastVLMError(.invalidOption, text, option: optionNames[name] ?? name)
        case .missingSpecialToken, .unknownTemplate:
            return FastVLMError(.invalidOption, text, option: "template")
        case .placeholderMismatch(let placeholders, let images):
            return FastVLMError(.placeholderMismatch, text, needed: images, limit: placeholders)
        case .emptyPrompt: return FastVLMError(.emptyPrompt, text)
        case .invalidConversation: return FastVLMError(.invalidConversation, text)
        case .format: return FastVLMError(.invalidOption, text, option: "format")
        case .deadlineExceeded: return FastVLMError(.deadlineExceeded, text)
        case .notANumber: return FastVLMError(.checkpoint, text)
        }
    }

    /// Properties of the options by what errors call them.
    static let optionNames = [
        "temperature": "temperature", "top-k": "topK", "top-p": "topP", "min-p": "minP",
        "repetition penalty": "repetitionPenalty", "frequency penalty": "frequencyPenalty",
        "presence penalty": "presencePenalty", "logit bias": "logitBias", "max tokens": "maximumTokens",
        "stop": "stop", "stop ids": "stopIDs",
        "stop strings": "stop", "top log-probabilities": "logProbabilities",
        "context length": "contextLength",
    ]

    private static func translating(_ error: CheckpointError) -> FastVLMError {
        switch error {
        case .tensor(let error): translating(error)
        case .output(let error): FastVLMError(.output, "\(error)")
        case .unsupportedWeightsFormat, .unsupportedConfiguration, .foreignQuantization, .adapterOnly,
            .unsupportedAdapter, .unexpectedDataType:
            FastVLMError(.unsupportedCheckpoint, "\(error)")
        default: FastVLMError(.checkpoint, "\(error)")
        }
    }

    private static func translating(_ error: TokenizationError) -> FastVLMError {
        switch error {
        case .unsupported: FastVLMError(.unsupportedCheckpoint, "\(error)")
        default: FastVLMError(.checkpoint, "\(error)")
        }
    }

    private static func translating(_ error: TensorError) -> FastVLMError {
        switch error {
        case .allocationFailed(let bytes): FastVLMError(.outOfMemory, "\(error)", needed: bytes)
        case .unexpectedShape, .mappingFailed: FastVLMError(.checkpoint, "\(error)")
        case .unavailableInstructionSet: FastVLMError(.unavailableInstructionSet, "\(error)")
        case .threadsRefused(let requested, let started):
            FastVLMError(.systemLimit, "\(error)", needed: requested, limit: started)
        case .noRoomBesideThreads: FastVLMError(.systemLimit, "\(error)")
        case .tooFewFiles(let needed): FastVLMError(.systemLimit, "\(error)", needed: needed)
        case .cancelled: FastVLMError(.systemLimit, "\(error)")
        }
    }

    /// What the system said, where it did.
    private static func reason(of error: any Error) -> SystemReason? {
        switch error {
        case let error as OutputError: error.reason
        case CheckpointError.output(let error): error.reason
        case CheckpointError.unreadableFile(_, let reason): reason
        case CheckpointError.tensor(.mappingFailed(_, let reason)): reason
        case TensorError.mappingFailed(_, let reason): reason
        case TokenizationError.unreadable(_, let reason): reason
        case ImageInputError.unreadable(_, let reason): reason
        default: nil
        }
    }
}
