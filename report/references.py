"""What the report may cite. Printed are those that it does cite, in the order of their first use."""

SOURCES = {
    "quickdraw": "Google Creative Lab: The Quick, Draw! dataset. github.com/googlecreativelab/quickdraw-dataset, CC BY 4.0.",
    "hinton2006": "G. Hinton, R. Salakhutdinov: Reducing the dimensionality of data with neural networks. Science 313, 2006.",
    "cho2014": "K. Cho et al.: Learning phrase representations using RNN encoder-decoder for statistical machine translation. EMNLP 2014.",
    "srivastava2015": "N. Srivastava, E. Mansimov, R. Salakhutdinov: Unsupervised learning of video representations using LSTMs. ICML "
                      "2015.",
    "odena2016": "A. Odena, V. Dumoulin, C. Olah: Deconvolution and checkerboard artifacts. Distill, 2016.",
    "smith2019": "L. Smith, N. Topin: Super-convergence: very fast training of neural networks using large learning rates. 2019.",
    "kingma2015": "D. Kingma, J. Ba: Adam: a method for stochastic optimization. ICLR 2015.",
    "lecun1998": "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. Proc. IEEE 86, "
                 "1998.",
    "pang2005": "B. Pang, L. Lee: Seeing stars: exploiting class relationships for sentiment categorization with respect to rating scales. "
                "ACL 2005.",
    "karras2024": "T. Karras et al.: Guiding a diffusion model with a bad version of itself. NeurIPS 2024.",
    "tsne2008": "L. van der Maaten, G. Hinton: Visualizing data using t-SNE. JMLR 9, 2008.",
    "rousseeuw1987": "P. Rousseeuw: Silhouettes: a graphical aid to the interpretation and validation of cluster analysis. J. "
                     "Computational and Applied Mathematics 20, 1987.",
    "kingma2014": "D. Kingma, M. Welling: Auto-encoding variational Bayes. ICLR 2014.",
    "rezende2014": "D. Rezende, S. Mohamed, D. Wierstra: Stochastic backpropagation and approximate inference in deep generative models. "
                   "ICML 2014.",
    "loaiza2019": "G. Loaiza-Ganem, J. Cunningham: The continuous Bernoulli: fixing a pervasive error in variational autoencoders. "
                  "NeurIPS 2019.",
    "rybkin2021": "O. Rybkin, K. Daniilidis, S. Levine: Simple and effective VAE training with calibrated decoders. ICML 2021.",
    "ghosh2020": "P. Ghosh et al.: From variational to deterministic autoencoders. ICLR 2020.",
    "hoffman2016": "M. Hoffman, M. Johnson: ELBO surgery: yet another way to carve up the variational evidence lower bound. NIPS "
                   "workshop, 2016.",
    "sohn2015": "K. Sohn, H. Lee, X. Yan: Learning structured output representation using deep conditional generative models. NIPS 2015.",
    "perez2018": "E. Perez et al.: FiLM: visual reasoning with a general conditioning layer. AAAI 2018.",
    "guo2017": "C. Guo et al.: On calibration of modern neural networks. ICML 2017.",
    "sutskever2013": "I. Sutskever et al.: On the importance of initialization and momentum in deep learning. ICML 2013.",
    "heusel2017": "M. Heusel et al.: GANs trained by a two time-scale update rule converge to a local Nash equilibrium. NIPS 2017.",
    "dowson1982": "D. Dowson, B. Landau: The Fréchet distance between multivariate normal distributions. J. Multivariate Analysis 12, "
                  "1982.",
    "chong2020": "M. Chong, D. Forsyth: Effectively unbiased FID and inception score and where to find them. CVPR 2020.",
    "salimans2016": "T. Salimans et al.: Improved techniques for training GANs. NIPS 2016.",
    "binkowski2018": "M. Bińkowski et al.: Demystifying MMD GANs. ICLR 2018.",
    "kynkaanniemi2019": "T. Kynkäänniemi et al.: Improved precision and recall metric for assessing generative models. NeurIPS 2019.",
    "efron1979": "B. Efron: Bootstrap methods: another look at the jackknife. Annals of Statistics 7, 1979.",
    "rumelhart1986": "D. Rumelhart, G. Hinton, R. Williams: Learning representations by back-propagating errors. Nature 323, 1986.",
    "frome2013": "A. Frome et al.: DeViSE: a deep visual-semantic embedding model. NIPS 2013.",
    "klambauer2017": "G. Klambauer et al.: Self-normalizing neural networks. NIPS 2017.",
    "dumoulin2016": "V. Dumoulin, F. Visin: A guide to convolution arithmetic for deep learning. 2016.",
    "vincent2008": "P. Vincent et al.: Extracting and composing robust features with denoising autoencoders. ICML 2008.",
    "wang2004": "Z. Wang et al.: Image quality assessment: from error visibility to structural similarity. IEEE Trans. Image Processing "
                "13, 2004.",
    "higgins2017": "I. Higgins et al.: beta-VAE: learning basic visual concepts with a constrained variational framework. ICLR 2017.",
    "chen2018": "R. Chen et al.: Isolating sources of disentanglement in variational autoencoders. NeurIPS 2018.",
    "goodfellow2014": "I. Goodfellow et al.: Generative adversarial nets. NIPS 2014.",
    "mescheder2018": "L. Mescheder, A. Geiger, S. Nowozin: Which training methods for GANs do actually converge? ICML 2018.",
    "mirza2014": "M. Mirza, S. Osindero: Conditional generative adversarial nets. 2014.",
    "miyato2018": "T. Miyato, M. Koyama: cGANs with projection discriminator. ICLR 2018.",
    "ho2020": "J. Ho, A. Jain, P. Abbeel: Denoising diffusion probabilistic models. NeurIPS 2020.",
    "song2021": "J. Song, C. Meng, S. Ermon: Denoising diffusion implicit models. ICLR 2021.",
    "ho2021": "J. Ho, T. Salimans: Classifier-free diffusion guidance. NeurIPS workshop, 2021.",
    "lugmayr2022": "A. Lugmayr et al.: RePaint: inpainting using denoising diffusion probabilistic models. CVPR 2022.",
    "chung2023": "H. Chung et al.: Diffusion posterior sampling for general noisy inverse problems. ICLR 2023.",
    "hochreiter1997": "S. Hochreiter, J. Schmidhuber: Long short-term memory. Neural Computation 9, 1997.",
    "kim2014": "Y. Kim: Convolutional neural networks for sentence classification. EMNLP 2014.",
    "bergstra2012": "J. Bergstra, Y. Bengio: Random search for hyper-parameter optimization. JMLR 13, 2012.",
}
