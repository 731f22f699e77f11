internal import CKernels

/// Products with packed weights.
extension Compute {
    /// y = activation(x·Wᵀ + bias).
    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - w: packed [outputs, inputs]
    ///   - bias: [outputs]
    ///   - y: [rows, outputs]; must not overlap x.
    package func linear(
        _ x: Matrix, _ w: PackedMatrix, bias: Vector? = nil, activation: Activation = .none, into y: Matrix
    ) {
        precondition(bias.map { $0.count == w.outputs } ?? true, "bias does not fit the weights")
        product(
            x, w.panels, inputs: w.inputs, outputs: w.outputs, bias: bias, scale: nil, epilogue: FV_STORE,
            activation: activation.code, y: y)
    }

    /// y += scale ⊙ (x·Wᵀ + bias), a residual branch with its layer scale.
    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - w: packed [outputs, inputs]
    ///   - bias: [outputs]
    ///   - scale: [outputs], ones where nil
    ///   - y: [rows, outputs]; must not overlap x.
    package func linearAdding(
        _ x: Matrix, _ w: PackedMatrix, bias: Vector? = nil, scale: Vector? = nil, to y: Matrix
    ) {
        precondition(bias.map { $0.count == w.outputs } ?? true, "bias does not fit the weights")
        precondition(scale.map { $0.count == w.outputs } ?? true, "scale does not fit the weights")
        product(
            x, w.panels, inputs: w.inputs, outputs: w.outputs, bias: bias, scale: scale, epilogue: FV_ADD,
            activation: FV_NONE, y: y)
    }

    /// y = silu(x·gateᵀ) ⊙ (x·upᵀ).
    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - y: [rows, outputs]; must not overlap x.
    package func gatedLinear(_ x: Matrix, _ w: PackedGatedMatrix, into y: Matrix) {
        product(
            x, w.panels, inputs: w.inputs, outputs: w.outputs, bias: nil, scale: nil, epilogue: FV_GATED,
            activation: FV_NONE, y: y)
    }

    private func product(
        _ x: Matrix, _ panels: PackedPanels, inputs: Int, outputs: Int, bias: Vector?, scale: Vector?,
        epilogue: fv_epilogue, activation: fv_activation, y: Matrix
    ) {
        precondition(x.columns == inputs && y.columns == outputs && x.rows == y.rows, "shapes do not agree")
        precondition(panels.instructionSet == instructionSet, "weights packed for another instruction set")
        let call = fv_gemm(
            a: x.pointer, a_stride: x.rowStride, rows: x.rows, inputs: inputs, panels: panels.base,
            first_panel: 0, panel_count: 0, outputs: outputs, y: y.pointer, y_stride: y.rowStride,
            bias: bias?.pointer, scale: scale?.pointer, epilogue: epilogue, activation: activation,
            scratch: nil)
        let kernel = panels.precision == .float32 ? kernels.pointee.gemm_f32 : kernels.pointee.gemm_bf16
        let grid = Grid(
            rows: x.rows, rowBlock: kernels.pointee.row_block, panels: panels.count,
            panelBlock: kernels.pointee.panel_block, threads: threads)
        run(grid.tasks, scratchBytes: kernels.pointee.gemm_scratch(inputs)) { task, scratch in
            let (rows, columns) = grid[task]
            var part = call
            part.a += rows.lowerBound * part.a_stride
            part.y += rows.lowerBound * part.y_stride
            part.rows = rows.count
            part.first_panel = columns.lowerBound
            part.panel_count = columns.count
            part.scratch = scratch
            kernel(&part)
        }
        withExtendedLifetime((panels, bias, scale)) {}
    }

    /// y += scale ⊙ (gelu(x·expandᵀ + expandBias)·projectᵀ + projectBias).
    ///
    /// Works by tiles of rows whose hidden activation never leaves the second-level cache.
    /// - Parameters:
    ///   - x: [rows, C]; may be y.
    ///   - expand: [hidden, C]
    ///   - project: [C', hidden], of the same precision as `expand`
    ///   - scale: [C'], ones where nil
    ///   - y: [rows, C']
    package func feedForwardAdding(
        _ x: Matrix, expand: PackedMatrix, expandBias: Vector?, project: PackedMatrix, projectBias: Vector?,
        scale: Vector?, to y: Matrix
    ) {
        precondition(
            x.columns == expand.inputs && expand.outputs == project.inputs && y.columns == project.outputs
                && x.rows == y.rows && expand.panels.precision == project.panels.precision,
            "shapes do not agree")
        precondition(
            expand.panels.instructionSet == instructionSet && project.panels.instructionSet == instructionSet,
            "weights packed for another instruction set")
        precondition(expandBias.map { $0.count == expand.outputs } ?? true, "bias does not fit")
        precondition(projectBias.map { $0.count == project.outputs } ?? true, "bias does not fit")
        precondition(scale.map { $0.count == project.outputs } ?? true, "scale does not fit")
        let call = fv_ffn(
            a: x.pointer, a_stride: x.rowStride, rows: x.rows, inputs: expand.inputs, hidden: expand.outputs,
            outputs: project.outputs, expand: expand.panels.base, expand_bias: expandBias?.pointer,
            project: project.panels.base, project_bias: projectBias?.pointer, scale: scale?.pointer,
            y: y.pointer, y_stride: y.rowStride, scratch: nil)
        let kernel =
            expand.panels.precision == .float32 ? kernels.pointee.ffn_f32 : kernels.pointee.ffn_bf16
        let step = kernels.pointee.ffn_rows(call.inputs, call.hidden, call.outputs)
        let bytes = kernels.pointee.ffn_scratch(call.inputs, call.hidden, call.outputs)
        run(ranges: x.rows, step: step, scratchBytes: bytes) { rows, scratch in
            var part = call
            part.a += rows.lowerBound * part.a_stride
            part.y += rows.lowerBound * part.y_stride
            part.rows = rows.count
            part.scratch = scratch
            kernel(&part)
        }
        withExtendedLifetime((expand, expandBias, project, projectBias, scale)) {}
    }
}

/// How a product is cut into tasks: blocks of rows, and in each of them ranges of panels, neighbours sharing
/// their rows. The cut changes no sum.
private struct Grid {
    let rows: Int
    let rowBlock: Int
    let panels: Int
    let perTask: Int

    init(rows: Int, rowBlock: Int, panels: Int, panelBlock: Int, threads: Int) {
        self.rows = rows
        self.rowBlock = rowBlock
        self.panels = panels
        // At least about four tasks per thread, so that threads end together.
        let rowBlocks = max((rows + rowBlock - 1) / rowBlock, 1)
        let wanted = threads == 1 ? 1 : max((4 * threads + rowBlocks - 1) / rowBlocks, 1)
        perTask = max(min(panelBlock, (panels + wanted - 1) / wanted), 1)
    }

    var tasks: Int { (rows + rowBlock - 1) / rowBlock * columnTasks }
    private var columnTasks: Int { (panels + perTask - 1) / perTask }

    subscript(task: Int) -> (rows: Range<Int>, panels: Range<Int>) {
        let row = task / columnTasks * rowBlock
        let panel = task % columnTasks * perTask
        return (row..<min(row + rowBlock, rows), panel..<min(panel + perTask, panels))
    }
}
