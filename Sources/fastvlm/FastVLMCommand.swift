import ArgumentParser

struct FastVLMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fastvlm",
        abstract: "Answer questions about images with FastVLM.",
        discussion: """
            Without --model, the small embedded model answers; it knows drawn and typeset pictures. For \
            photographs, point --model at a published FastVLM checkpoint folder.

            Exit codes: 0 success, 64 wrong usage or request, 65 the image is not usable, 69 the model is not \
            usable, 70 the machine lacks something (memory, instruction set), 74 stdout or a plot \
            cannot be written, 130 interrupted.

            Shell completions: fastvlm --generate-completion-script bash|zsh|fish
            """,
        version: "0.1.0",
        subcommands: [
            Describe.self, Chat.self, Encode.self, Bench.self, Quantize.self, Tokenize.self, Inspect.self,
            Info.self,
        ])
}
