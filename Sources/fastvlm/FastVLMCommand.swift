import ArgumentParser
import CommandInput
import Foundation

struct FastVLMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fastvlm",
        abstract: "Answer questions about images with FastVLM.",
        discussion: """
            Without --model, the small embedded model answers; it knows drawn and typeset pictures. For \
            photographs, download a published checkpoint (fastvlm pull apple/FastVLM-0.5B) and name it with --model.

            \(ExitStatus.summary)

            Shell completions: fastvlm --generate-completion-script bash|zsh|fish
            """,
        version: version,
        subcommands: [
            Describe.self, Chat.self, Batch.self, Encode.self, Bench.self, Compare.self, Sweep.self,
            Quantize.self,
            Perplexity.self,
            Evaluate.self, Tokenize.self,
            Inspect.self, Doctor.self, Info.self, Pull.self, List.self, Show.self, Remove.self, Logits.self,
        ] + servers)

    static let version = "0.1.0"

    /// What needs the trait Server.
    private static var servers: [any ParsableCommand.Type] {
        #if Server
            [Serve.self]
        #else
            []
        #endif
    }

    static func main() async {
        let arguments = CommandLineBytes.arguments
        var command: any ParsableCommand
        do {
            command = try await asyncParseAsRoot(arguments)
        } catch {
            leave(error, parsing: Array(arguments.prefix { $0 != "--" }))
        }
        do {
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            leave(error)
        }
    }
}

/// The arguments with the bytes that the system handed over; Swift's own list replaces those that are no UTF-8.
enum CommandLineBytes {
    /// Without the program's name.
    static var arguments: [String] {
        (1..<max(Int(CommandLine.argc), 1)).compactMap { index in
            CommandLine.unsafeArgv[index].map { argument in
                ByteText.text(UnsafeRawBufferPointer(start: argument, count: strlen(argument)))
            }
        }
    }
}
