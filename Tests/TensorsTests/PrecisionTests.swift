import Tensors
import Testing

@Suite struct PrecisionTests {
    @Test(
        "int4 keeps 8 bits in the first and the last tenth of the layers",
        arguments: [(1, 0), (4, 0), (5, 1), (6, 1), (14, 1), (24, 2), (28, 3), (30, 3), (32, 3), (40, 4)])
    func outerLayers(layers: Int, tenth: Int) {
        let kept = (0..<layers).filter { Precision.keepsEightBits(layer: $0, of: layers) }
        #expect(kept == Array(0..<tenth) + Array(layers - tenth..<layers))
    }
}
