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
        precondition(y.columns == w.outputs, "shapes do not agree")
        product(
            x, w.panels, inputs: w.inputs, outputs: w.outputs, bias: bias, scale: nil, epilogue: FV_STORE,
            activation: activation.code, y: y)
    }

    /// The first y.columns numbers of x·Wᵀ.
    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - w: packed [outputs, inputs]
    ///   - isExact: x is not rounded where weights are bfloat16, as instruction sets with products of bfloat16 numbers do
    ///     otherwise.
    ///   - y: [rows, n], n ≤ outputs; must not overlap x.
    package func logits(_ x: Matrix, _ w: PackedMatrix, isExact: Bool = false, into y: Matrix) {
        product(
            x, w.panels, inputs: w.inputs, outputs: y.columns, bias: nil, scale: nil, epilogue: FV_STORE,
            activation: FV_NONE, isExact: isExact, y: y)
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
        epilogue: fv_epilogue, activation: fv_activation, isExact: Bool = false, y: Matrix
    ) {
        precondition(x.columns == inputs && y.columns == outputs && x.rows == y.rows, "shapes do not agree")
        precondition(panels.layout.fits(self), "weights packed for another instruction set")
        observer?.observe(x, panels)
        let isGated = epilogue == FV_GATED
        measured(
            isGated ? .gatedLinear : .linear, "\(x.rows) × \(inputs) → \(outputs)",
            operations: 2 * x.rows * inputs * outputs * (isGated ? 2 : 1),
            bytes: panels.byteCount + 4 * x.rows * (inputs + outputs)
        ) {
            multiply(
                x, panels, inputs: inputs, outputs: outputs, bias: bias, scale: scale, epilogue: epilogue,
                activation: activation, isExact: isExact, y: y)
        }
    }

    private func multiply(
        _ x: Matrix, _ panels: PackedPanels, inputs: Int, outputs: Int, bias: Vector?, scale: Vector?,
        epilogue: fv_epilogue, activation: fv_activation, isExact: Bool = false, y: Matrix
    ) {
        let call = fv_gemm(
            a: x.pointer, a_stride: x.rowStride, rows: x.rows, inputs: inputs, panels: panels.base,
            first_panel: 0, panel_count: 0, outputs: outputs, y: y.pointer, y_stride: y.rowStride,
            bias: bias?.pointer, scale: scale?.pointer, epilogue: epilogue, activation: activation,
            scratch: nil, quantised: nil, group: panels.format.group ?? 0,
            has_minima: panels.layout.hasMinima ? 1 : 0)
        guard let group = panels.format.group else {
            let table = kernels.pointee
            if panels.format == .bfloat16, !isExact, let round = table.round_rows,
                let pitch = table.rounded_pitch?(inputs)
            {
                multiplyRounded(x, call, round: round, pitch: pitch)
            } else {
                let kernel =
                    panels.format == .float32
                    ? table.gemm_f32 : isExact ? table.gemm_exact_bf16 : table.gemm_bf16
                run(kernel, call, pitch: 0)
            }
            return withExtendedLifetime((panels, bias, scale)) {}
        }
        if panels.isWeightOnly {
            multiplyWidened(x, panels, call, group: group)
            return withExtendedLifetime((panels, bias, scale)) {}
        }
        let kernel = panels.format.bits == 8 ? kernels.pointee.gemm_q8 : kernels.pointee.gemm_q4
        let limit = panels.format.bits == 8 ? kernels.pointee.input_limit : 127
        withQuantised(x, group: group, isRotated: panels.layout.isRotated, limit: limit) { rows, pitch in
            var call = call
            call.quantised = rows
            run(kernel, call, pitch: pitch)
        }
        withExtendedLifetime((panels, bias, scale)) {}
    }

    /// The product of rows that are rounded to bfloat16 with bfloat16 weights: rounded once where several calls read them.
    private func multiplyRounded(
        _ x: Matrix, _ call: fv_gemm, round: @convention(c) (UnsafePointer<fv_quantise>) -> Void, pitch: Int
    ) {
        let table = kernels.pointee
        let panelsPerCall = table.panel_width * table.panel_block
        if x.rows < table.row_block / 4 || call.outputs <= panelsPerCall {
            return run(table.gemm_bf16, call, pitch: 0)
        }
        let blocks = (x.rows + table.row_block - 1) / table.row_block
        withScratch(blocks * table.row_block * pitch) { block in
            let rounding = fv_quantise(
                x: x.pointer, x_stride: x.rowStride, rows: x.rows, inputs: x.columns, group: 0, is_rotated: 0,
                limit: 0, target: block)
            quantise(rounding, with: round, pitch: pitch)
            var call = call
            call.quantised = UnsafeRawPointer(block)
            run(table.gemm_bf16, call, pitch: pitch)
        }
    }

    /// The product of rows that stay float32 with integer weights.
    private func multiplyWidened(_ x: Matrix, _ panels: PackedPanels, _ call: fv_gemm, group: Int) {
        let table = kernels.pointee
        let kernel = panels.format.bits == 8 ? table.gemm_widened_q8 : table.gemm_widened_q4
        let bytes = table.widened_scratch()
        guard panels.layout.isRotated else {
            return run(kernel, call, pitch: 0, scratchBytes: bytes)
        }
        withScratch(x.rows * x.columns * 4) { block in
            let rotation = fv_quantise(
                x: x.pointer, x_stride: x.rowStride, rows: x.rows, inputs: x.columns, group: group,
                is_rotated: 1, limit: 0, target: block)
            quantise(rotation, with: table.rotate_rows, pitch: x.columns * 4)
            var call = call
            call.a = UnsafePointer(block.assumingMemoryBound(to: Float.self))
            call.a_stride = x.columns
            run(kernel, call, pitch: 0, scratchBytes: bytes)
        }
    }

    /// x as integers, for as long as `body` runs.
    private func withQuantised(
        _ x: Matrix, group: Int, isRotated: Bool, limit: Int32,
        _ body: (_ rows: UnsafeRawPointer, _ pitch: Int) -> Void
    ) {
        let pitch = kernels.pointee.quantised_pitch(x.columns, group)
        withScratch(x.rows * pitch) { block in
            let call = fv_quantise(
                x: x.pointer, x_stride: x.rowStride, rows: x.rows, inputs: x.columns, group: group,
                is_rotated: isRotated ? 1 : 0, limit: limit, target: block)
            quantise(call, with: kernels.pointee.quantise, pitch: pitch)
            body(block, pitch)
        }
    }

    /// - Parameter pitch: bytes between the rows that the kernel writes.
    private func quantise(
        _ call: fv_quantise, with kernel: @convention(c) (UnsafePointer<fv_quantise>) -> Void, pitch: Int
    ) {
        // Less work than waking a thread.
        if call.rows < 8 { return withUnsafePointer(to: call) { kernel($0) } }
        let step = max(1, 32768 / max(call.inputs, 1))
        run(ranges: call.rows, step: step, with: (call, kernel, pitch)) { job, rows, _ in
            var (part, kernel, pitch) = job
            part.x += rows.lowerBound * part.x_stride
            part.target += rows.lowerBound * pitch
            part.rows = rows.count
            kernel(&part)
        }
    }

    /// - Parameters:
    ///   - pitch: bytes between quantised rows
    ///   - scratchBytes: what the kernel takes; nil for `gemm_scratch`
    private func run(
        _ kernel: @convention(c) (UnsafePointer<fv_gemm>) -> Void, _ call: fv_gemm, pitch: Int,
        scratchBytes: Int? = nil
    ) {
        let perPanel =
            call.epilogue == FV_GATED ? kernels.pointee.panel_width / 2 : kernels.pointee.panel_width
        let grid = Grid(
            product: call.rows, rowBlock: kernels.pointee.row_block,
            panels: (call.outputs + perPanel - 1) / perPanel,
            panelBlock: kernels.pointee.panel_block, threads: threads)
        let bytes = scratchBytes ?? kernels.pointee.gemm_scratch(call.inputs)
        run(grid.tasks, scratchBytes: bytes, with: (call, kernel, grid, pitch)) { job, task, scratch in
            var (part, kernel, grid, pitch) = job
            let (rows, columns) = grid[task]
            part.a += rows.lowerBound * part.a_stride
            part.y += rows.lowerBound * part.y_stride
            part.quantised = part.quantised.map { $0 + rows.lowerBound * pitch }
            part.rows = rows.count
            part.first_panel = columns.lowerBound
            part.panel_count = columns.count
            part.scratch = scratch
            kernel(&part)
        }
    }

    /// y += scale ⊙ (gelu(x·expandᵀ + expandBias)·projectᵀ + projectBias), with ``Activation/coarseGelu`` where the
    /// weights are integers, for which the hidden activation is rounded to integers too.
    ///
    /// Many rows go by tiles whose hidden activation never leaves the second-level cache.
    /// - Parameters:
    ///   - x: [rows, C]; may be y.
    ///   - expand: [hidden, C]
    ///   - project: [C', hidden], of the same format as `expand`, which is not `.int4` and has no minima
    ///   - scale: [C'], ones where nil
    ///   - y: [rows, C']
    package func feedForwardAdding(
        _ x: Matrix, expand: PackedMatrix, expandBias: Vector?, project: PackedMatrix, projectBias: Vector?,
        scale: Vector?, to y: Matrix
    ) {
        precondition(
            x.columns == expand.inputs && expand.outputs == project.inputs && y.columns == project.outputs
                && x.rows == y.rows && expand.panels.format == project.panels.format
                && expand.panels.layout.isRotated == project.panels.layout.isRotated
                && expand.panels.isWeightOnly == project.panels.isWeightOnly
                && !expand.panels.layout.hasMinima && !project.panels.layout.hasMinima,
            "shapes or formats do not agree")
        precondition(
            expand.panels.layout.fits(self) && project.panels.layout.fits(self),
            "weights packed for another instruction set")
        precondition(expandBias.map { $0.count == expand.outputs } ?? true, "bias does not fit")
        precondition(projectBias.map { $0.count == project.outputs } ?? true, "bias does not fit")
        precondition(scale.map { $0.count == project.outputs } ?? true, "scale does not fit")
        measured(
            .feedForward, "\(x.rows) × \(expand.inputs) → \(expand.outputs)",
            operations: 2 * x.rows * expand.outputs * (expand.inputs + project.outputs),
            bytes: expand.byteCount + project.byteCount + 4 * x.rows * (x.columns + 2 * y.columns)
        ) {
            if x.rows <= Self.fewRows || expand.panels.isWeightOnly {
                twoProducts(
                    x, expand: expand, expandBias: expandBias, project: project, projectBias: projectBias,
                    scale: scale, y: y)
            } else {
                fused(
                    x, expand: expand, expandBias: expandBias, project: project, projectBias: projectBias,
                    scale: scale, y: y)
            }
        }
    }

    /// Up to so many rows a feed-forward network runs as two products: these are split by outputs as well, so that
    /// every thread has work and reads a part of the weights only. The sums are the same.
    private static let fewRows = 256

    private func twoProducts(
        _ x: Matrix, expand: PackedMatrix, expandBias: Vector?, project: PackedMatrix, projectBias: Vector?,
        scale: Vector?, y: Matrix
    ) {
        withScratch(x.rows * expand.outputs * 4) { block in
            let hidden = Matrix(
                pointer: block.assumingMemoryBound(to: Float.self), rows: x.rows, columns: expand.outputs,
                rowStride: expand.outputs)
            multiply(
                x, expand.panels, inputs: expand.inputs, outputs: expand.outputs, bias: expandBias,
                scale: nil, epilogue: FV_STORE,
                activation: expand.panels.format.group == nil ? FV_GELU : FV_COARSE_GELU, y: hidden)
            multiply(
                hidden, project.panels, inputs: project.inputs, outputs: project.outputs, bias: projectBias,
                scale: scale, epilogue: FV_ADD, activation: FV_NONE, y: y)
        }
    }

    private func fused(
        _ x: Matrix, expand: PackedMatrix, expandBias: Vector?, project: PackedMatrix, projectBias: Vector?,
        scale: Vector?, y: Matrix
    ) {
        let call = fv_ffn(
            a: x.pointer, a_stride: x.rowStride, rows: x.rows, inputs: expand.inputs, hidden: expand.outputs,
            outputs: project.outputs, expand: expand.panels.base, expand_bias: expandBias?.pointer,
            project: project.panels.base, project_bias: projectBias?.pointer, scale: scale?.pointer,
            y: y.pointer, y_stride: y.rowStride, scratch: nil, group: expand.panels.format.group ?? 0,
            is_rotated: expand.panels.layout.isRotated ? 1 : 0, limit: kernels.pointee.input_limit)
        let table = kernels.pointee
        let (kernel, step, bytes): (@convention(c) (UnsafePointer<fv_ffn>) -> Void, Int, Int)
        switch expand.panels.format {
        case .float32, .bfloat16:
            kernel = expand.panels.format == .float32 ? table.ffn_f32 : table.ffn_bf16
            step = table.ffn_rows(call.inputs, call.hidden, call.outputs)
            bytes = table.ffn_scratch(call.inputs, call.hidden, call.outputs)
        case .int8(let group):
            kernel = table.ffn_q8
            step = table.ffn_q8_rows(call.inputs, call.hidden, call.outputs, group)
            bytes = table.ffn_q8_scratch(call.inputs, call.hidden, call.outputs, group)
        case .int4:
            preconditionFailure("a feed-forward network is not made from 4-bit weights")
        }
        // About eight tasks per thread, so that threads end together; a multiple of every micro-kernel's rows.
        let even = (x.rows / (8 * threads) + 11) / 12 * 12
        run(
            ranges: x.rows, step: min(step, max(even, 24)), scratchBytes: bytes, with: (call, kernel)
        ) { job, rows, scratch in
            var (part, kernel) = job
            part.a += rows.lowerBound * part.a_stride
            part.y += rows.lowerBound * part.y_stride
            part.rows = rows.count
            part.scratch = scratch
            kernel(&part)
        }
        withExtendedLifetime((expand, expandBias, project, projectBias, scale)) {}
    }
}

extension Grid {
    /// How a product is cut into tasks. The cut changes no sum.
    fileprivate init(product rows: Int, rowBlock: Int, panels: Int, panelBlock: Int, threads: Int) {
        // At least about four tasks per thread, so that threads end together.
        let rowBlocks = max((rows + rowBlock - 1) / rowBlock, 1)
        let wanted = threads == 1 ? 1 : max((4 * threads + rowBlocks - 1) / rowBlocks, 1)
        self.init(
            rows: rows, rowsPerTask: rowBlock, columns: panels,
            columnsPerTask: max(min(panelBlock, (panels + wanted - 1) / wanted), 1))
    }
}
