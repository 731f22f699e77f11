import Checkpoints
import Generation
import ImageInput
import Models
import Tensors
import TestSupport

extension GenerationEngine {
    /// Scores of the position after a prompt, by the network alone: no blocks, no scheduler.
    func logits(
        after request: GenerationRequest, on compute: Compute, chunk: Int = Decoder.prefillChunk
    ) throws -> [Float] {
        let workspace = Workspace()
        let counts = request.images.map { network.positions(of: $0.content) }
        let rows = try workspace.matrix(
            request.prompt.length { counts[$0] }, network.configuration.text.hiddenSize)
        var row = 0
        for element in request.prompt.elements {
            switch element {
            case .tokens(let ids):
                network.decoder.embed(ids, into: rows.rows(row..<row + ids.count), on: compute)
                row += ids.count
            case .image(let index):
                guard case .pixels(let pixels) = request.images[index].content else { continue }
                rows.rows(row..<row + counts[index]).copy(try encode(pixels).projected)
                row += counts[index]
            }
        }
        let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
        try network.decoder.forward(
            rows, cache: network.decoder.makeCache(), logits: logits, workspace: workspace, on: compute,
            chunk: chunk)
        return Array(logits.row(0))
    }
}

extension Prompt {
    /// - Parameter chunks: ids before, between and behind the images, which come in order
    init(chunks: [[Int]]) {
        self.init(
            elements: chunks.enumerated().flatMap { index, chunk in
                (index > 0 ? [.image(index - 1)] : []) + [Prompt.Element.tokens(chunk)]
            })
    }
}

extension ReferenceConversations {
    func picture(_ index: Int) throws -> RGBImage {
        try RGBImage(width: images[index].width, height: images[index].height, pixels: pixels(index))
    }
}
