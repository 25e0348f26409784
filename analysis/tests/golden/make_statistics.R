#!/usr/bin/env Rscript
# SPDX-License-Identifier: Apache-2.0
# Writes statistics.csv, points of three made-up models as Results.scores has them, and statistics.json, what R makes of
# them. test_golden_statistics.py compares the functions of this package with it; the tests need no R.
#
#     Rscript analysis/tests/golden/make_statistics.R
#
# Packages (of Debian 12: r-base-core r-cran-psych r-cran-lme4 r-cran-sandwich r-cran-jsonlite): psych has Williams's and
# Steiger's tests, lme4 mixed models, sandwich errors of clusters; all else is R's own. The points are drawn only where
# statistics.csv is missing, so that another generator of R does not change them.

library(jsonlite)
suppressPackageStartupMessages({library(psych); library(lme4); library(sandwich)})
options(warn = 1)
script <- sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE))
folder <- dirname(normalizePath(script))
file <- file.path(folder, "statistics.csv")

# ---- points ----

draw_points <- function() {
  set.seed(20)
  pruned <- expand.grid(model = c("a", "b", "c"), method = c("magnitude", "wanda", "sparsegpt"),
                        sparsity = c(0.3, 0.5, 0.7), bits = NA, calibration = c("text", "task"), replicate = 0:1)
  quantized <- expand.grid(model = c("a", "b", "c"), method = "rtn", sparsity = NA, bits = c(2, 3, 4),
                           calibration = c("text", "task"), replicate = 0:1)
  points <- rbind(pruned, quantized)
  points <- points[-c(5, 44, 61, 100), ] # of an unbalanced grid
  loss <- ifelse(is.na(points$sparsity), (5 - points$bits) / 3, 3 * points$sparsity^2)
  by <- function(name, size) rnorm(nlevels(factor(points[[name]])), 0, size)[as.integer(factor(points[[name]]))]
  points$cell <- paste(points$model, points$method, points$sparsity, points$bits)
  points$set <- paste(points$cell, points$calibration)
  loss <- loss + by("model", 0.2) + by("method", 0.3) + by("cell", 0.2) + by("set", 0.1)
  n <- nrow(points)
  points[["text/perplexity"]] <- signif(exp(2.5 + loss + rnorm(n, 0, 0.08)), 6)
  points[["text/kl_mean"]] <- signif(0.4 * exp(loss + rnorm(n, 0, 0.5)), 5)
  points[["task/acc"]] <- round(0.8 - 0.12 * loss + by("model", 0.03) + by("method", 0.04) + rnorm(n, 0, 0.06), 2)
  dense <- data.frame(model = c("a", "b", "c"), method = "dense", sparsity = NA, bits = NA, calibration = "",
                      replicate = NA, cell = "", set = "", x = c(12.1, 13.2, 11.8), z = 0, y = c(0.81, 0.78, 0.84))
  names(dense) <- names(points)
  points <- rbind(dense, points)
  points$bits_per_weight_nominal <- ifelse(is.na(points$bits), 16, points$bits + 0.5)
  points[setdiff(names(points), c("cell", "set"))]
}

if (!file.exists(file))
  write.csv(draw_points(), file, row.names = FALSE, quote = FALSE, na = "")
all <- read.csv(file, check.names = FALSE)
compressed <- subset(all, method != "dense")
names(compressed) <- sub(".*/", "", names(compressed))
a <- subset(compressed, model == "a")

# ---- one model: correlations ----

coefficient <- function(x, y, method) {
  found <- cor.test(x, y, method = method, exact = FALSE)
  list(rho = unname(found$estimate), p = found$p.value)
}

# p of a partial correlation is that of the slope beside what is held fixed.
partial_correlation <- function(x, y, given) {
  given <- as.data.frame(given)
  rest <- function(v) residuals(lm(v ~ ., data = given))
  slope <- summary(lm(y ~ x + ., data = given))$coefficients["x", ]
  list(rho = cor(rest(x), rest(y)), p = unname(slope["Pr(>|t|)"]))
}

values <- function(column, method) if (method == "spearman") rank(column) else column

magnitude <- subset(a, method == "magnitude")
correlations <- list()
for (method in c("spearman", "pearson", "kendall"))
  correlations[[method]] <- list(
    tied = coefficient(a$perplexity, a$acc, method),
    untied = coefficient(a$perplexity, a$kl_mean, method),
    logarithm = coefficient(log(a$perplexity), a$acc, method),
    magnitude = coefficient(magnitude$perplexity, magnitude$acc, method))

held <- list("sparsity" = data.frame(s = ifelse(is.na(a$sparsity), 0, a$sparsity)))
held[["sparsity bits"]] <- cbind(held$sparsity, b = ifelse(is.na(a$bits), 16, a$bits))
held[["text/kl_mean"]] <- data.frame(k = a$kl_mean)
partial <- grouped <- dependent <- list()
for (method in c("spearman", "pearson")) {
  x <- values(a$perplexity, method)
  z <- values(a$kl_mean, method)
  y <- values(a$acc, method)
  partial[[method]] <- lapply(held, function(h) partial_correlation(x, y, lapply(h, values, method)))
  means <- aggregate(cbind(x, y), list(method = a$method), mean)
  grouped[[method]] <- list(within = partial_correlation(x, y, a["method"]),
                            between = coefficient(means$x, means$y, method))
}

# ---- two correlations that share a variable ----

# r.test takes Steiger's test for four variables: here the second and the fourth are the same, so that r14 and r23 are
# the two correlations, of which his equation 14 has the mean. r.test puts it for r12 and r34 itself.
shared <- function(xy, zy, xz, n) {
  williams <- r.test(n, r12 = xy, r13 = zy, r23 = xz)
  steiger <- r.test(n, r12 = xy, r34 = zy, r13 = xz, r14 = (xy + zy) / 2, r23 = (xy + zy) / 2, r24 = 1)
  list(xy = xy, zy = zy, xz = xz, n = n, williams_t = williams$t, williams_p = williams$p, steiger_z = steiger$z,
       steiger_p = steiger$p)
}

for (method in c("spearman", "pearson")) # turned so that both are positive
  dependent[[method]] <- shared(-cor(a$perplexity, a$acc, method = method), -cor(a$kl_mean, a$acc, method = method),
                                cor(a$perplexity, a$kl_mean, method = method), nrow(a))

# ---- p values, errors and intervals ----

p <- c(0.04, 0.001, NA, 0.02, 0.3, 0.02, 0.9, 0.011)
changes <- list(c(1, 7), c(7, 1), c(0, 5), c(40, 40), c(3, 100), c(12, 13))
mcnemar <- lapply(changes, function(n) list(n = n, p = binom.test(n[1], sum(n))$p.value))

mean_only <- lm(log(perplexity) ~ 1, data = a)
clusters <- interaction(a$method, a$calibration)
clustered <- sqrt(vcovCL(mean_only, clusters, type = "HC0", cadjust = TRUE)[1, 1])
errors <- list(clustered = clustered, independent = summary(mean_only)$coefficients[1, "Std. Error"],
               ratio = exp(unname(coef(mean_only))))
errors$ratio_error <- errors$ratio * clustered # the delta method
spread <- t.test(a$acc, conf.level = 0.9)

# ---- mixed models ----

exact <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
variances <- function(fit) {
  table <- as.data.frame(VarCorr(fit))
  setNames(as.list(table$vcov), table$grp)
}
fixed <- function(fit) {
  table <- coef(summary(fit))
  lapply(split(table, rownames(table)), function(row) list(estimate = row[1], stderr = row[2]))
}

dyestuff <- lmer(Yield ~ 1 + (1 | Batch), Dyestuff, control = exact)
compressed$x <- log(compressed$perplexity)
compressed$s <- ifelse(is.na(compressed$sparsity), 0, compressed$sparsity)
line <- lmer(acc ~ x + s + (1 | model) + (1 | method), compressed, control = exact)
freedom <- lm(acc ~ x + s + model + method, compressed)$df.residual
pruned <- subset(a, !is.na(sparsity))
nested <- lmer(log(perplexity) ~ 1 + (1 | method) + (1 | sparsity) + (1 | method:sparsity) +
                 (1 | method:sparsity:calibration), pruned, control = exact)

# ---- all of it ----

golden <- list(
  made_with = c(R = R.version.string,
                sapply(c("psych", "lme4", "sandwich"), function(n) as.character(packageVersion(n)))) |> as.list(),
  correlations = correlations, grouped = grouped, partial = partial, dependent = dependent,
  shared = list(shared(0.4, 0.5, 0.1, 103), shared(0.5, 0.3, 0.4, 103), shared(-0.2, 0.7, 0.3, 20)),
  adjusted = list(p = p, holm = p.adjust(p, "holm"), bh = p.adjust(p, "BH")),
  mcnemar = mcnemar, errors = errors,
  spread = list(mean = unname(spread$estimate), std = sd(a$acc), low = spread$conf.int[1], high = spread$conf.int[2]),
  dyestuff = list(yield = Dyestuff$Yield, batch = as.integer(Dyestuff$Batch), variances = variances(dyestuff),
                  fixed = fixed(dyestuff)),
  mixed = list(variances = variances(line), fixed = fixed(line), freedom = freedom,
               p = lapply(fixed(line), function(row) 2 * pt(-abs(row$estimate / row$stderr), freedom)),
               half = lapply(fixed(line), function(row) qt(0.975, freedom) * row$stderr)),
  variance = variances(nested))
writeLines(toJSON(golden, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null"),
           file.path(folder, "statistics.json"))
